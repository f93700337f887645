//! The small catalogue that `amends up` and `amends demo` start with.

/// One item for sale.
#[derive(Debug, Clone, Copy)]
pub struct SeedItem {
    /// Its stock-keeping unit.
    pub sku: &'static str,
    /// What people call it.
    pub name: &'static str,
    /// Euro cents.
    pub amount_minor: i64,
    /// Units in stock.
    pub on_hand: i64,
}

/// An item whose goods are always gone when the sale is to be committed: it shows a refusal at the pivot.
pub const REFUSED_AT_PIVOT: &str = "moka-pot-display";

/// The catalogue, in euros.
pub const CATALOGUE: [SeedItem; 6] = [
    SeedItem { sku: "espresso-1kg", name: "Espresso beans, 1 kg", amount_minor: 1850, on_hand: 1_000_000 },
    SeedItem { sku: "filter-500g", name: "Filter beans, 500 g", amount_minor: 1290, on_hand: 1_000_000 },
    SeedItem { sku: "grinder", name: "Hand grinder", amount_minor: 8900, on_hand: 5_000 },
    SeedItem { sku: "machine", name: "Espresso machine", amount_minor: 64_900, on_hand: 1_000 },
    SeedItem { sku: "cup-limited", name: "Cup, limited edition", amount_minor: 2400, on_hand: 3 },
    SeedItem { sku: REFUSED_AT_PIVOT, name: "Moka pot (display piece)", amount_minor: 3200, on_hand: 100 },
];
