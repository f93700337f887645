//! A charge and its compensation keep the barrier's table, as every participant of the saga engine has to: by the engine's own suite.
//! The money counts: an effect is what the processor's ledger has taken and not given back.

use amends_primitives::{OrderId, RandomIds};
use async_trait::async_trait;
use payment_service::{
    app::Error,
    domain::{Charge, Compensated, CustomerId, Mode, PaymentMethod, Rejection, StepKey},
};
use saga_engine::testkit::barrier::{Answer, Participant, Undone, run};
use serde_json::{Value, json};

use crate::support::{Place, World, eur, fingerprint, on_every_backend, rounds};

on_every_backend!(charges_keep_the_barriers_table);

/// What one charge takes, in minor units.
const PRICE: i64 = 700;

#[derive(Clone)]
struct Charges(World);

impl std::fmt::Debug for Charges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Charges")
    }
}

#[async_trait]
impl Participant for Charges {
    async fn act(&self, key: &StepKey, request: u32, refused: bool) -> Answer {
        let charge = Charge {
            key: key.clone(),
            fingerprint: fingerprint(u8::try_from(request).unwrap()),
            order_id: OrderId::new(key.saga_id().as_uuid()),
            customer_id: CustomerId::try_new("demo").unwrap(),
            amount: eur(PRICE),
            method: PaymentMethod::try_new(if refused { "pm_declined" } else { "pm_ok" }).unwrap(),
            mode: Mode::Charge,
        };
        // Asked again while it is in doubt, as a saga does.
        for _ in 0..100 {
            return match self.0.payments.charge(&charge).await {
                Ok(payment) => Answer::Done(json!({"payment": payment.id.to_string()})),
                Err(Error::Rejected(Rejection::Declined { id, .. })) => Answer::Refused(json!(id.to_string())),
                Err(Error::Rejected(Rejection::StepCompensated(_))) => Answer::Compensated,
                Err(Error::Rejected(Rejection::StepKeyReused(_))) => Answer::Mismatch,
                Err(Error::Rejected(other)) => panic!("{other:?}"),
                Err(Error::Failed(_)) => continue,
            };
        }
        panic!("{key} is unknown after 100 calls");
    }

    async fn compensate(&self, key: &StepKey) -> Undone {
        for _ in 0..100 {
            match self.0.payments.compensate_charge(key).await {
                Ok(undone) if undone.found == Compensated::Undone => return Undone::Now,
                Ok(_) => return Undone::Nothing,
                Err(_) => {}
            }
        }
        panic!("{key} is not compensated after 100 calls");
    }

    /// A charge can be undone, so it is no pivot.
    async fn close(&self, _key: &StepKey) -> Result<Option<Value>, ()> {
        Err(())
    }

    async fn in_effect(&self, key: &StepKey) -> i64 {
        let (taken, given_back) = self.0.ledger_of(key).await;
        assert_eq!((taken - given_back) % PRICE, 0, "a part of a charge");
        (taken - given_back) / PRICE
    }
}

async fn charges_keep_the_barriers_table(place: &Place) {
    let world = place.world().await;
    run(&Charges(world.clone()), &RandomIds, rounds().div_ceil(3)).await;
    world.assert_books_balance().await;
}
