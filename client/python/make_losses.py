"""make_losses.py MODULE PACKAGE: writes losses.py and functional.py of the Python package.

MODULE is the built extension, whose catalogue() has a row for each loss, tensor and output; PACKAGE is the
folder of the package. Nothing here names a loss but the table of functions with names of their own.
"""
import importlib.machinery
import importlib.util
import pathlib
import sys
import textwrap

# Functions that the field calls otherwise than the wire calls the loss.
FUNCTIONS = {"softmax": "softmax_cross_entropy"}
# Parameters of every function; options of these names get an underscore.
RESERVED = {"predictions", "targets", "weight", "gradient", "out", "client"}
WIDTH = 100

SPEC_HEAD = '''"""A class for each loss, with its options. Made by make_losses.py from the catalogue of losses."""

from __future__ import annotations

from typing import Any, Literal, Sequence

from lossd._core import Spec

DTypeLike = Any  # "float32", numpy.float32, torch.float32, ...

__all__ = [{names}]
'''

FUNCTION_HEAD = '''"""A function for each loss, with PyTorch's names and meanings of what the losses have in common.
Made by make_losses.py from the catalogue of losses.

predictions, targets: arrays of any framework (see lossd.Client.compute).
weight: of each class, as many as there are classes; of losses over elements, of each element.
ignore_index: a label that does not count; with class indices only.
reduction: "mean" (over what counts: class indices by their weights), "sum", "none", or one of lossd's own.
gradient, out, client: whether the gradient is wanted; an array that it is written to, which may be that of
    the predictions; where to compute, by default lossd.default_client().
"""

from __future__ import annotations

from typing import Any, Literal, Sequence

from lossd import losses
from lossd._core import Result
from lossd._meaning import compute
from lossd.client import Client

__all__ = [{names}]
'''


def class_name(loss):
    return "".join(part.capitalize() for part in loss["name"].split("_"))


def function_name(loss):
    return FUNCTIONS.get(loss["name"], loss["name"])


def names(values):
    listed = ", ".join(f'"{value}"' for value in values)
    return "\n    " + "\n    ".join(textwrap.wrap(listed, WIDTH - 5)) + ",\n"


def targets_of(loss, catalogue):
    targets = {row["name"] for row in catalogue["tensors"] if row["is_target"]}
    return [tensor["name"] for tensor in loss["tensors"] if tensor["name"] in targets]


def side_tensors_of(loss, catalogue):
    plain = {row["name"] for row in catalogue["tensors"] if not row["is_target"]}
    return [t["name"] for t in loss["tensors"] if t["name"] in plain - {"predictions"}]


def about(loss, catalogue):
    """The documentation of a loss."""
    over = {"elements": "each element", "pick": "one class of each position",
            "sequences": "sequences of frames", "groups": "the classes of groups of places"}
    lines = [f"The loss {loss['name']}, of {over.get(loss['family'], 'all classes of each position')}."
             f" Predictions are {loss['predictions']}."]
    lines += ["", f"Targets: {' or '.join(targets_of(loss, catalogue)) or 'none'}."]
    side = side_tensors_of(loss, catalogue)
    lines += [f"Takes {', '.join(side)}."] if side else []
    return lines


def weight_of(loss):
    """The tensor that `weight` is."""
    return "position_weights" if loss["family"] == "elements" else "class_weights"


def fields_text(fields):
    for field in fields:
        help_text = field["help"].rstrip(".")
        yield from textwrap.wrap(f"{field.get('parameter', field['name'])}: {help_text}.", WIDTH - 8, subsequent_indent="    ")


def doc(lines):
    body = "\n".join(f"    {line}" if line else "" for line in lines[1:])
    return f'    """{lines[0]}\n{body}\n    """\n'


def parameters(fields):
    return "".join(f"        {f.get('parameter', f['name'])}: {f['annotation']} = {f['default']!r},\n" for f in fields)


def spec_class(loss, catalogue):
    fields = loss["options"] + loss["common"]
    lines = about(loss, catalogue) + [""] + list(fields_text(fields))
    values = "".join(f"            {f['name']}={f['name']},\n" for f in fields)
    return (f"\n\nclass {class_name(loss)}(Spec):\n{doc(lines)}\n    __slots__ = ()\n\n"
            f"    def __init__(\n        self,\n        *,\n{parameters(fields)}    ) -> None:\n"
            f"        super().__init__(\n            \"{loss['name']}\",\n{values}        )\n")


def function(loss, catalogue):
    common = {field["name"] for field in loss["common"]}
    shared = [("weight", "Any", None), ("ignore_index", "int", -100), ("label_smoothing", "float", 0.0),
              ("reduction", "str", "mean"), ("gradient", "bool", True), ("out", "Any", None),
              ("client", "Client | None", None)]
    taken = {"ignore_index": "ignore_labels", "label_smoothing": "label_smoothing"}
    options = [{**f, "parameter": f["name"] + "_" if f["name"] in RESERVED else f["name"]}
               for f in loss["options"]]
    side = [{"name": name, "parameter": name, "annotation": "Any", "default": None}
            for name in side_tensors_of(loss, catalogue) if name != weight_of(loss)]
    has_weight = weight_of(loss) in side_tensors_of(loss, catalogue)
    fields = options + side + [
        {"name": name, "annotation": annotation, "default": default}
        for name, annotation, default in shared
        if taken.get(name, "reduction") in common and (name != "weight" or has_weight)]
    lines = about(loss, catalogue) + [""] + list(fields_text(options)) + [
        "The other arguments: see this module."]
    chosen = "".join(f"            {f['name']}={f['parameter']},\n" for f in options)
    given = "".join(f"            {f['name']}={f['parameter']},\n" for f in side)
    rest = "".join(f"        {f['name']}={f['name']},\n" for f in fields[len(options) + len(side):])
    text_parameters = parameters(fields).replace("        ", "    ")
    return (f"\n\ndef {function_name(loss)}(\n    predictions: Any,\n"
            f"    targets: Any{'' if targets_of(loss, catalogue) else ' = None'},\n    *,\n"
            f"{text_parameters}) -> Result:\n{doc(lines)}"
            f"    return compute(\n        losses.{class_name(loss)},\n        predictions,\n"
            f"        targets,\n        dict(\n{chosen}        ),\n        dict(\n{given}        ),\n{rest}    )\n")


def load(module):
    # The package itself cannot be imported yet: it imports what is made here.
    loader = importlib.machinery.ExtensionFileLoader("lossd._core", module)
    spec = importlib.util.spec_from_file_location("lossd._core", module, loader=loader)
    loaded = importlib.util.module_from_spec(spec)
    loader.exec_module(loaded)
    return loaded


def main(module, package):
    catalogue = load(module).catalogue()
    made = {
        "losses.py": SPEC_HEAD.format(names=names(map(class_name, catalogue["losses"]))) +
        "".join(spec_class(loss, catalogue) for loss in catalogue["losses"]),
        "functional.py": FUNCTION_HEAD.format(names=names(map(function_name, catalogue["losses"]))) +
        "".join(function(loss, catalogue) for loss in catalogue["losses"]),
    }
    for name, text in made.items():
        pathlib.Path(package, name).write_text(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
