#ifndef LOSSD_SERVER_EVENT_H_
#define LOSSD_SERVER_EVENT_H_

namespace lossd {

// What a completion queue's tags point to.
class Event {
 public:
  virtual void Run(bool ok) = 0;

 protected:
  ~Event() = default;
};

// Calls a member function of its owner, which may delete itself in it.
template <class Owner>
class MemberEvent final : public Event {
 public:
  using Method = void (Owner::*)(bool ok);

  MemberEvent(Owner* owner, Method method) : owner_(owner), method_(method) {}
  void Run(bool ok) override { (owner_->*method_)(ok); }

 private:
  Owner* owner_;
  Method method_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_EVENT_H_
