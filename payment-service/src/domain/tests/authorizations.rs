//! The rules of what is held: its transitions, its refusals, and random lives of authorizations.

use super::*;

pub(super) fn authorized_event(minor: i64) -> Event {
    Event::Authorized { amount: eur(minor), receipt: Receipt::new("a") }
}

pub(super) fn capturing(name: &str, minor: i64) -> Event {
    let wanted = Wanted::Capture { asked: Some(eur(minor)), amount: eur(minor) };
    Event::SettlementAsked { key: step(name), fingerprint: Fingerprint::new([2; 32]), wanted }
}

pub(super) fn voiding(name: &str) -> Event {
    Event::SettlementAsked { key: step(name), fingerprint: Fingerprint::new([2; 32]), wanted: Wanted::Void }
}

fn authorizing(minor: i64) -> Charge {
    Charge { mode: Mode::Authorize, ..charge(minor) }
}

fn in_doubt(minor: i64) -> Payment {
    Payment::intended(PaymentId::new(Uuid::from_u128(3)), authorizing(minor), NOW)
}

pub(super) fn authorized(minor: i64) -> Payment {
    evolve(&in_doubt(minor), &authorized_event(minor), NOW).unwrap()
}

fn settlement(name: &str, verb: SettlementVerb) -> SettlementAsked {
    SettlementAsked {
        key: step(name),
        fingerprint: Fingerprint::new([2; 32]),
        payment_id: PaymentId::new(Uuid::from_u128(3)),
        verb,
    }
}

fn after(payment: &Payment, events: &[Event]) -> Payment {
    events.iter().fold(payment.clone(), |payment, event| evolve(&payment, event, NOW).unwrap())
}

#[test]
fn authorizations_are_not_captured_unasked_nor_charges_held() {
    assert!(evolve(&in_doubt(100), &captured_event(100), NOW).is_err());
    assert!(evolve(&pending(100), &authorized_event(100), NOW).is_err());
    for (event, status) in [
        (authorized_event(100), Status::Authorized),
        (Event::Declined { reason: DeclineReason::Declined }, Status::Declined),
        (Event::Voided, Status::Voided),
    ] {
        assert_eq!(evolve(&in_doubt(100), &event, NOW).unwrap().status(), status);
    }
}

#[test]
fn no_more_is_captured_than_is_held() {
    let held = authorized(100);
    assert_eq!((held.captured(), held.capturable()), (eur(0), eur(100)));
    for minor in [0, -1, 101, i64::MAX, i64::MIN] {
        assert!(evolve(&held, &capturing("capture", minor), NOW).is_err(), "{minor}");
        let asked = settlement("capture", SettlementVerb::Capture(Some(eur(minor))));
        let exceeds = Rejection::CaptureExceedsAuthorized { asked: eur(minor), authorized: eur(100) };
        assert_eq!(decide_settlement(&held, &asked), Err(exceeds), "{minor}");
    }
    let dollars = Money::new(1, Currency::USD);
    let asked = settlement("capture", SettlementVerb::Capture(Some(dollars)));
    let refused = Err(Rejection::OtherCurrency { asked: dollars, payment: eur(100) });
    assert_eq!(decide_settlement(&held, &asked), refused);

    let part = after(&held, &[capturing("capture", 60), captured_event(60)]);
    assert_eq!((part.status(), part.captured(), part.capturable()), (Status::Captured, eur(60), eur(0)));
    let more = decide_settlement(&part, &settlement("more", SettlementVerb::Capture(Some(eur(40)))));
    let (id, from, to) = (part.id, Status::Captured, Status::Captured);
    assert_eq!(more, Err(Rejection::IllegalState { id, from, to }), "captured once: the rest was released");
    let refund = after(&part, &[asked_event("refund", 60), done_event("refund")]);
    assert_eq!(refund.status(), Status::Refunded, "no more is given back than was captured");
    assert!(evolve(&part, &asked_event("refund", 61), NOW).is_err());
}

#[test]
fn what_cannot_follow_is_refused_with_both_states_named() {
    for (from, verb, to) in [
        (Status::Pending, SettlementVerb::Void, Status::Voided),
        (Status::Captured, SettlementVerb::Void, Status::Voided),
        (Status::Captured, SettlementVerb::Capture(None), Status::Captured),
        (Status::Refunded, SettlementVerb::Capture(None), Status::Captured),
        (Status::Declined, SettlementVerb::Capture(None), Status::Captured),
        (Status::Voided, SettlementVerb::Capture(None), Status::Captured),
        (Status::Voided, SettlementVerb::Void, Status::Voided),
    ] {
        let payment = payment_in(from);
        let refused = decide_settlement(&payment, &settlement("end", verb)).unwrap_err();
        assert_eq!(refused, Rejection::IllegalState { id: payment.id, from, to });
        assert!(refused.to_string().ends_with(&format!("is {}: it cannot become {}", from.name(), to.name())));
    }
    let refund = RefundAsked {
        key: step("refund"),
        fingerprint: Fingerprint::new([2; 32]),
        payment_id: PaymentId::new(Uuid::from_u128(3)),
        amount: None,
    };
    let refused = decide_refund(&authorized(100), &refund).unwrap_err();
    assert_eq!(refused.to_string().split_once(" is ").unwrap().1, "authorized: it cannot become refunded");
}

#[test]
fn a_key_names_one_effect() {
    let held = authorized(100);
    let captured = after(&held, &[capturing("capture", 60), captured_event(60)]);
    let reused = |name: &str| Err(Rejection::StepKeyReused(step(name)));
    let all = SettlementVerb::Capture(Some(eur(60)));
    assert_eq!(decide_settlement(&captured, &settlement("capture", SettlementVerb::Void)), reused("capture"));
    assert_eq!(decide_settlement(&captured, &settlement("capture", SettlementVerb::Capture(None))), reused("capture"));
    let mut other = settlement("capture", all);
    other.fingerprint = Fingerprint::new([3; 32]);
    assert_eq!(decide_settlement(&captured, &other), reused("capture"));
    assert_eq!(decide_settlement(&held, &settlement("charge", SettlementVerb::Void)), reused("charge"));
    let refunded = after(&captured, &[asked_event("refund", 10), done_event("refund")]);
    assert_eq!(decide_settlement(&refunded, &settlement("refund", all)), reused("refund"));
    let Next::Record(_) = decide_refund(&captured, &refund_of("refund")).unwrap() else { panic!() };
    assert_eq!(decide_refund(&captured, &refund_of("capture")), Err(Rejection::StepKeyReused(step("capture"))));

    // A repeat is answered with what was true then.
    let Ok(Next::Answer(answer)) = decide_settlement(&refunded, &settlement("capture", all)) else { panic!() };
    assert_eq!((answer.status(), answer.refunded()), (Status::Captured, eur(0)));
    let Ok(ChargeNext::Answer(answer)) = decide_charge(&Record::Payment(refunded), &authorizing(100)) else { panic!() };
    assert_eq!((answer.status(), answer.captured(), answer.capturable()), (Status::Authorized, eur(0), eur(100)));
    let charged = decide_charge(&Record::Payment(held), &charge(100));
    assert_eq!(charged, Err(Rejection::StepKeyReused(step("charge"))));
}

fn refund_of(name: &str) -> RefundAsked {
    RefundAsked {
        key: step(name),
        fingerprint: Fingerprint::new([2; 32]),
        payment_id: PaymentId::new(Uuid::from_u128(3)),
        amount: Some(eur(10)),
    }
}

#[test]
fn of_a_capture_and_a_void_the_first_on_record_is_settled_first() {
    let capture_first = evolve(&authorized(100), &capturing("capture", 60), NOW).unwrap();
    let Ok(Next::AskSettlement(asked)) = decide_settlement(&capture_first, &settlement("void", SettlementVerb::Void))
    else {
        panic!("the capture in doubt is asked about")
    };
    assert_eq!(asked.key, step("capture"));
    // Refused by the processor: then the void may be.
    let refused = evolve(&capture_first, &Event::CaptureRefused { key: step("capture") }, NOW).unwrap();
    let again = decide_settlement(&refused, &settlement("capture", SettlementVerb::Capture(Some(eur(60)))));
    assert_eq!(again, Err(Rejection::CaptureRefused(refused.id)));
    let next = decide_settlement(&refused, &settlement("void", SettlementVerb::Void));
    assert_eq!(next, Ok(Next::Record(voiding("void"))));
    let voided = after(&refused, &[voiding("void"), Event::Voided]);
    let Ok(Next::Answer(answer)) = decide_settlement(&voided, &settlement("void", SettlementVerb::Void)) else {
        panic!()
    };
    assert_eq!(answer.status(), Status::Voided);
}

#[test]
fn a_repeat_is_answered_as_of_the_time_it_ended() {
    let at = |seconds| NOW + std::time::Duration::from_secs(seconds);
    let life = |events: &[Event]| {
        (1..).zip(events).fold(in_doubt(100), |payment, (now, event)| evolve(&payment, event, at(now)).unwrap())
    };
    let repeated = |payment: &Payment, name, verb| {
        let Ok(Next::Answer(answer)) = decide_settlement(payment, &settlement(name, verb)) else { panic!("{name}") };
        (answer.status(), answer.updated_at)
    };
    let authorized = |payment: &Payment| (payment.as_authorized().status(), payment.as_authorized().updated_at);
    let part = SettlementVerb::Capture(Some(eur(60)));
    let captured = life(&[authorized_event(100), capturing("end", 60), captured_event(60), asked_event("refund", 1)]);
    assert_eq!(repeated(&captured, "end", part), (Status::Captured, at(3)));
    assert_eq!(authorized(&captured), (Status::Authorized, at(1)));
    assert!(captured.as_authorized().state.hold().unwrap().settlements.is_empty(), "nothing was asked for then");
    let voided = life(&[authorized_event(100), voiding("end"), Event::Voided, Event::BarrierClosed]);
    assert_eq!(repeated(&voided, "end", SettlementVerb::Void), (Status::Voided, at(3)));
    assert_eq!(authorized(&voided), (Status::Authorized, at(1)));
}

#[test]
fn the_processors_word_settles_what_was_asked() {
    let state = |events: &[Event], name: &str| {
        let payment = after(&authorized(100), events);
        payment.state.hold().and_then(|hold| hold.settlement(&step(name))).map(|settlement| settlement.state)
    };
    let (done, refused) = (Some(SettlementState::Done { at: NOW }), Some(SettlementState::Refused { at: NOW }));
    assert_eq!(state(&[capturing("end", 60), captured_event(60)], "end"), done);
    assert_eq!(state(&[capturing("end", 60), Event::Voided], "end"), refused, "the hold ended the other way");
    assert_eq!(state(&[voiding("end"), Event::Voided], "end"), done);
    assert_eq!(state(&[voiding("end"), captured_event(60)], "end"), refused, "the money was taken before");
    let first_refused = [capturing("a", 1), Event::CaptureRefused { key: step("a") }];
    assert_eq!(state(&[&first_refused[..], &[capturing("b", 60), captured_event(60)]].concat(), "a"), refused);

    // One at a time, and each under a key of its own.
    let capturing_a = after(&authorized(100), &[capturing("a", 1)]);
    let void_asked = after(&authorized(100), &[voiding("a")]);
    for (payment, event) in [
        (&capturing_a, capturing("b", 1)),
        (&capturing_a, Event::CaptureRefused { key: step("b") }),
        (&void_asked, Event::CaptureRefused { key: step("a") }),
        (&after(&authorized(100), &first_refused), capturing("a", 1)),
        (&authorized(100), captured_event(101)),
        (&authorized(100), captured_event(0)),
    ] {
        assert!(evolve(payment, &event, NOW).is_err(), "{event:?}");
    }
}

#[test]
fn a_refused_capture_is_told_so_only_while_the_money_is_held() {
    let refused = after(&authorized(100), &[capturing("a", 60), Event::CaptureRefused { key: step("a") }]);
    let again = settlement("a", SettlementVerb::Capture(Some(eur(60))));
    assert_eq!(decide_settlement(&refused, &again), Err(Rejection::CaptureRefused(refused.id)));
    let voided = evolve(&refused, &Event::Voided, NOW).unwrap();
    let (id, from, to) = (voided.id, Status::Voided, Status::Captured);
    assert_eq!(decide_settlement(&voided, &again), Err(Rejection::IllegalState { id, from, to }));
    let closed = evolve(&authorized(100), &Event::BarrierClosed, NOW).unwrap();
    let compensated = Rejection::StepCompensated(step("charge"));
    assert_eq!(decide_settlement(&closed, &settlement("void", SettlementVerb::Void)), Err(compensated));
}

#[test]
fn a_hold_can_be_voided_however_many_captures_were_refused() {
    let mut held = authorized(100);
    for number in 0..SETTLEMENTS_PER_PAYMENT_MAX {
        let name = format!("capture-{number}");
        held = after(&held, &[capturing(&name, 1), Event::CaptureRefused { key: step(&name) }]);
    }
    let next = decide_settlement(&held, &settlement("capture", SettlementVerb::Capture(None)));
    assert_eq!(next, Err(Rejection::TooManyCaptures(held.id)));
    assert!(matches!(decide_settlement(&held, &settlement("void", SettlementVerb::Void)), Ok(Next::Record(_))));
}

/// What the processor has under the authorization's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Nothing,
    Held,
    Taken(i64),
    Released,
}

/// One call, and whether its answer gets lost.
#[derive(Debug, Clone)]
enum Call {
    Authorize { lost: bool },
    End { key: u8, minor: Option<i64>, void: bool, lost: bool, late: bool },
    Compensate { lost: bool },
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let one = prop_oneof![
        2 => any::<bool>().prop_map(|lost| Call::Authorize { lost }),
        6 => (0..4_u8, prop::option::of(1..120_i64), any::<bool>(), any::<bool>(), any::<bool>())
            .prop_map(|(key, minor, void, lost, late)| Call::End { key, minor, void, lost, late }),
        1 => any::<bool>().prop_map(|lost| Call::Compensate { lost }),
    ];
    prop::collection::vec(one, 0..30)
}

struct Life {
    payment: Payment,
    line: Line,
}

impl Life {
    /// The effect happens; whether it is written down depends on whether the answer arrives.
    fn happens(&mut self, event: &Event, lost: bool) {
        if !lost {
            self.payment = evolve(&self.payment, event, NOW).unwrap();
        }
    }

    fn void(&mut self, lost: bool) {
        let event = match self.line {
            Line::Taken(minor) => captured_event(minor),
            Line::Nothing | Line::Held | Line::Released => {
                self.line = Line::Released;
                Event::Voided
            }
        };
        self.happens(&event, lost);
    }

    fn end(&mut self, settlement: &Settlement, lost: bool) {
        let Wanted::Capture { amount, .. } = settlement.wanted else { return self.void(lost) };
        match self.line {
            Line::Held => self.line = Line::Taken(amount.amount_minor()),
            Line::Released => return self.happens(&Event::Voided, lost),
            Line::Nothing | Line::Taken(_) => {}
        }
        let Line::Taken(minor) = self.line else { panic!("captured without a hold: {:?}", self.payment) };
        self.happens(&captured_event(minor), lost);
    }

    fn compensate_once(&mut self, lost: bool) -> bool {
        match decide_compensation(&Record::Payment(self.payment.clone()), false) {
            CompensationNext::Answer(..) => return false,
            CompensationNext::Record(event) => self.happens(&event, false),
            CompensationNext::Void(_) => self.void(lost),
            CompensationNext::AskRefund(_, refund) => {
                self.happens(&Event::RefundDone { key: refund.key, receipt: Receipt::new("r") }, lost);
            }
        }
        true
    }
}

proptest! {
    #[test]
    fn an_authorization_ends_once_and_the_books_agree(calls in calls()) {
        let mut life = Life { payment: in_doubt(100), line: Line::Nothing };
        for call in calls {
            let before = life.payment.clone();
            match call {
                Call::Authorize { lost } => {
                    let record = Record::Payment(life.payment.clone());
                    if let Ok(ChargeNext::AskProcessor(_)) = decide_charge(&record, &authorizing(100)) {
                        let event = match life.line {
                            Line::Released => Event::Voided,
                            _ => authorized_event(100),
                        };
                        if life.line == Line::Nothing {
                            life.line = Line::Held;
                        }
                        life.happens(&event, lost);
                    }
                }
                Call::End { key, minor, void, lost, late } => {
                    let verb = if void { SettlementVerb::Void } else { SettlementVerb::Capture(minor.map(eur)) };
                    let asked = settlement(&format!("end-{key}"), verb);
                    match decide_settlement(&life.payment, &asked) {
                        Ok(Next::Record(event)) => life.happens(&event, false),
                        // A question on its way while the compensation closes the barrier.
                        Ok(Next::AskSettlement(pending)) => {
                            if late && life.payment.barrier == Barrier::Open {
                                life.happens(&Event::BarrierClosed, false);
                            }
                            life.end(&pending, lost);
                        }
                        Ok(Next::Answer(answer)) => {
                            let expected = if void { Status::Voided } else { Status::Captured };
                            prop_assert_eq!(answer.status(), expected);
                        }
                        Ok(Next::AskRefund(refund)) => panic!("{refund:?}"),
                        Err(_) => {}
                    }
                }
                Call::Compensate { lost } => {
                    life.compensate_once(lost);
                }
            }
            if life.payment != before {
                assert_sound_until(&life.payment, &before);
            }
            if let (State::Captured(_), Line::Taken(minor)) = (&life.payment.state, life.line) {
                prop_assert_eq!(life.payment.captured(), eur(minor));
            }
            if let State::Captured(_) = &life.payment.state {
                prop_assert!(matches!(life.line, Line::Taken(_)), "{:?}", life.payment);
            }
            if life.payment.status() == Status::Voided {
                prop_assert_eq!(life.line, Line::Released);
            }
        }
        let mut moves = 0;
        while life.compensate_once(false) {
            moves += 1;
            prop_assert!(moves <= 4, "{:?}", life.payment);
        }
        prop_assert_eq!(life.payment.captured(), life.payment.refunded());
        prop_assert_ne!(life.line, Line::Held);
        prop_assert!(decide_charge(&Record::Payment(life.payment.clone()), &authorizing(100)).is_err());
        prop_assert!(decide_settlement(&life.payment, &settlement("late", SettlementVerb::Capture(None))).is_err());
    }
}

/// As [`assert_sound`], over one or two moves.
fn assert_sound_until(payment: &Payment, before: &Payment) {
    assert!((1..=2).contains(&(payment.version - before.version)));
    let predecessor = Payment { version: payment.version - 1, ..before.clone() };
    assert_sound(payment, &predecessor);
    let settlements = payment.state.hold().map_or(&[][..], |hold| &hold.settlements);
    let done = settlements.iter().filter(|settlement| matches!(settlement.state, SettlementState::Done { .. })).count();
    assert!(done <= 1, "a hold ends once: {payment:?}");
}
