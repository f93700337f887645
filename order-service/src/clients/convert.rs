//! Our words to protobuf's and back.

use amends_primitives::Money;
use amends_protos::{common::v1 as common, inventory::v1 as inventory};

use crate::domain::{CatalogueItem, Sku};

pub(super) fn money(money: Money) -> common::Money {
    common::Money { amount_minor: money.amount_minor(), currency: money.currency().code().to_owned() }
}

fn to_money(money: &common::Money) -> Option<Money> {
    Some(Money::new(money.amount_minor, money.currency.parse().ok()?))
}

/// An item as the catalogue sends it; `None` when it is not one we can sell.
pub(super) fn item(item: inventory::Item) -> Option<CatalogueItem> {
    Some(CatalogueItem {
        sku: Sku::try_new(item.sku).ok()?,
        name: item.name,
        unit_price: item.unit_price.as_ref().and_then(to_money)?,
        available: item.available,
        reserved: item.reserved,
    })
}
