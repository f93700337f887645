//! What a caller sent, before anything is believed: text and numbers. REST and gRPC fill it, one function judges it.

use amends_primitives::{Currency, Money};
use service_base::code::Code;

use crate::{
    domain::{Basket, BasketProblem, LINES_PER_ORDER_MAX, LineProblem, NewLine, PaymentMethod, Quantity, Sku},
    ports::{Fingerprint, IdempotencyKey},
};

/// A price as it was sent.
#[derive(Debug, Clone)]
pub struct DraftPrice {
    /// Minor units.
    pub amount_minor: i64,
    /// Should be an ISO 4217 code.
    pub currency: String,
}

/// A line as it was sent.
#[derive(Debug, Clone)]
pub struct DraftLine {
    /// Should be a SKU.
    pub sku: String,
    /// Should be 1 to 1 000 000.
    pub quantity: i64,
    /// Where one was sent.
    pub unit_price: Option<DraftPrice>,
}

/// An order as it was sent.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The lines.
    pub items: Vec<DraftLine>,
    /// Should be a processor's token.
    pub payment_method: String,
}

/// A field that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldProblem {
    /// `items[0].quantity`
    pub field: String,
    /// A sentence.
    pub message: String,
}

/// Why a draft is not a valid order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the request is not valid ({code})")]
pub struct Invalid {
    /// What is wrong: `InvalidRequest`, `MixedCurrencies`, `TotalOverflow`, `UnknownSku`.
    pub code: Code,
    /// Every field that is wrong.
    pub fields: Vec<FieldProblem>,
}

impl Invalid {
    /// One field that is wrong.
    pub fn field(code: Code, field: impl Into<String>, message: &dyn ToString) -> Self {
        Self { code, fields: vec![FieldProblem { field: field.into(), message: message.to_string() }] }
    }
}

impl Draft {
    /// Validates the draft, or says everything that is wrong with it.
    ///
    /// # Errors
    /// All fields that are wrong, at once.
    pub fn check(self) -> Result<(Basket, PaymentMethod), Invalid> {
        // Counted first: a million messages would not help the caller.
        if self.items.len() > LINES_PER_ORDER_MAX {
            return Err(invalid_basket(&BasketProblem::TooManyLines));
        }
        let mut fields = Vec::new();
        let mut wrong =
            |field: String, message: &dyn ToString| fields.push(FieldProblem { field, message: message.to_string() });
        let mut lines = Vec::with_capacity(self.items.len());
        for (index, item) in self.items.into_iter().enumerate() {
            let sku = Sku::try_new(item.sku).map_err(|error| wrong(format!("items[{index}].sku"), &error));
            let quantity =
                Quantity::try_new(item.quantity).map_err(|error| wrong(format!("items[{index}].quantity"), &error));
            let unit_price = match item.unit_price {
                None => Ok(None),
                Some(price) => match price.currency.parse::<Currency>() {
                    Ok(currency) => Ok(Some(Money::new(price.amount_minor, currency))),
                    Err(error) => {
                        wrong(format!("items[{index}].unit_price.currency"), &error);
                        Err(())
                    }
                },
            };
            if let (Ok(sku), Ok(quantity), Ok(unit_price)) = (sku, quantity, unit_price) {
                lines.push(NewLine { sku, quantity, unit_price });
            }
        }
        let method =
            PaymentMethod::try_new(self.payment_method).map_err(|error| wrong("payment_method".into(), &error));
        match (method, fields.is_empty()) {
            (Ok(method), true) => Ok((Basket::try_new(lines).map_err(|problem| invalid_basket(&problem))?, method)),
            _ => Err(Invalid { code: Code::InvalidRequest, fields }),
        }
    }
}

/// Where a broken rule shows in the request.
pub(super) fn invalid_basket(problem: &BasketProblem) -> Invalid {
    match problem {
        BasketProblem::Empty | BasketProblem::TooManyLines => Invalid::field(Code::InvalidRequest, "items", problem),
        BasketProblem::Lines(lines) => Invalid {
            code: Code::InvalidRequest,
            fields: lines
                .iter()
                .map(|(index, problem)| {
                    let field = match problem {
                        LineProblem::DuplicateSku => "sku",
                        LineProblem::NegativePrice => "unit_price.amount_minor",
                    };
                    FieldProblem { field: format!("items[{index}].{field}"), message: problem.to_string() }
                })
                .collect(),
        },
        BasketProblem::MixedCurrencies(index) => {
            Invalid::field(Code::MixedCurrencies, format!("items[{index}].unit_price.currency"), problem)
        }
        BasketProblem::TotalOverflow(index) => {
            Invalid::field(Code::TotalOverflow, format!("items[{index}].quantity"), problem)
        }
    }
}

/// The key a caller sent.
///
/// # Errors
/// When it is missing or malformed.
pub fn idempotency_key(text: Option<&str>) -> Result<IdempotencyKey, KeyProblem> {
    let text = text.filter(|text| !text.is_empty()).ok_or(KeyProblem::Missing)?;
    IdempotencyKey::try_new(text).map_err(|_| KeyProblem::Malformed)
}

/// Why an idempotency key is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    /// The header is missing.
    #[error("placing an order needs an idempotency key: make one, keep it, and send it again with every retry")]
    Missing,
    /// The header does not have the form of a key.
    #[error("must be 1 to 255 visible ASCII characters, sent once")]
    Malformed,
}

/// What the request asks for, independent of the caller and of how the request was written: the same over REST and gRPC.
pub(super) fn fingerprint(basket: &Basket, method: &PaymentMethod) -> Fingerprint {
    // Lengths go first, so that no two requests have the same bytes.
    let mut bytes = Vec::new();
    let mut put = |text: &str| {
        bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
    };
    put("place-order/1");
    put(method.as_str());
    for line in basket.lines() {
        put(line.sku.as_str());
        put(&line.quantity.get().to_string());
        match line.unit_price {
            None => put("-"),
            Some(price) => put(&format!("{} {}", price.amount_minor(), price.currency())),
        }
    }
    Fingerprint::of(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SKU, quantity, and the price where one is given.
    type Item<'a> = (&'a str, i64, Option<(i64, &'a str)>);

    fn draft(items: &[Item<'_>]) -> Draft {
        Draft {
            items: items
                .iter()
                .map(|(sku, quantity, price)| DraftLine {
                    sku: (*sku).into(),
                    quantity: *quantity,
                    unit_price: price
                        .map(|(amount_minor, currency)| DraftPrice { amount_minor, currency: currency.into() }),
                })
                .collect(),
            payment_method: "pm_ok".into(),
        }
    }

    /// The code and the fields of what is wrong.
    fn check(draft: Draft, expected: &str) {
        let found = match draft.check() {
            Ok(_) => "ok".to_owned(),
            Err(Invalid { code, fields }) => {
                let fields: Vec<String> = fields.into_iter().map(|field| field.field).collect();
                format!("{code}: {}", fields.join(" "))
            }
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        check(draft(&[("a", 1, None), ("b", 2, Some((5, "EUR")))]), "ok");
        check(
            Draft {
                payment_method: "a b".into(),
                ..draft(&[("", 0, Some((1, "eur"))), ("a", -1, None), ("b", 1_000_001, None)])
            },
            "invalid_request: items[0].sku items[0].quantity items[0].unit_price.currency items[1].quantity items[2].quantity \
             payment_method",
        );
        check(draft(&[]), "invalid_request: items");
        check(draft(&vec![("a", 1, None); 101]), "invalid_request: items");
        check(draft(&[("a", 1, None), ("a", 1, None)]), "invalid_request: items[1].sku");
        check(draft(&[("a", 1, Some((-1, "EUR")))]), "invalid_request: items[0].unit_price.amount_minor");
        check(
            draft(&[("a", 1, Some((1, "EUR"))), ("b", 1, Some((1, "USD")))]),
            "mixed_currencies: items[1].unit_price.currency",
        );
        check(draft(&[("a", 1_000_000, Some((i64::MAX, "EUR")))]), "total_overflow: items[0].quantity");
    }

    #[test]
    fn fingerprints_tell_requests_apart_and_nothing_else() {
        let of = |draft: Draft| {
            let (basket, method) = draft.check().unwrap();
            fingerprint(&basket, &method)
        };
        let one = of(draft(&[("a", 1, None)]));
        assert_eq!(one, of(draft(&[("a", 1, None)])));
        assert_eq!(one.as_str().len(), 64);
        let others = [
            draft(&[("a", 2, None)]),
            draft(&[("b", 1, None)]),
            draft(&[("a", 1, Some((1, "EUR")))]),
            draft(&[("a", 1, None), ("b", 1, None)]),
            Draft { payment_method: "pm_declined".into(), ..draft(&[("a", 1, None)]) },
        ];
        for other in others {
            assert_ne!(one, of(other));
        }
    }

    #[test]
    fn keys_are_visible_ascii() {
        assert!(idempotency_key(Some("8e03978e-40d5-43e8-bc93-6894a57f9324")).is_ok());
        assert_eq!(idempotency_key(None), Err(KeyProblem::Missing));
        assert_eq!(idempotency_key(Some("")), Err(KeyProblem::Missing));
        for bad in ["a b", "ä", "\u{7f}", "x\t", &"x".repeat(256)] {
            assert_eq!(idempotency_key(Some(bad)), Err(KeyProblem::Malformed), "{bad:?}");
        }
    }
}
