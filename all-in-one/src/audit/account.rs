//! What a bank's books say of one payment, wherever they are kept.

/// What a bank knows under one key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// The key of the charge or the authorization.
    pub key: String,
    /// What it took: once at the most, unless its books are wrong.
    pub captures: Vec<Movement>,
    /// What it gave back.
    pub refunds: Vec<Movement>,
    /// What it holds, in minor units, and in which currency. A statement does not say.
    pub held: Option<(i64, String)>,
    /// Why it cannot be read.
    pub unreadable: Option<String>,
}

/// Money that moved at the bank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movement {
    /// The key of the request that moved it.
    pub key: String,
    /// How much, in minor units.
    pub amount_minor: i64,
    /// In which currency.
    pub currency: String,
    /// The bank's reference.
    pub receipt: String,
}
