//! Payments read for reconciliation, as they are stored: also what a hand in the database has spoilt. One such record must not keep the
//! audit from the others.
//!
//! Must not know: what is right; drivers.

use amends_primitives::Timestamp;
use amends_sql::checks::Breach;
use async_trait::async_trait;

use super::{
    StoreError,
    document::{Document, RefundDocument, RefundStateDocument, SettlementStateDocument, TOMBSTONE},
};
use crate::domain::Record;

/// A record as it is stored: a payment, or a tombstone, which has a key and an id and nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditPayment {
    /// The step key of the charge or the authorization.
    pub key: String,
    /// Whether it only refuses a late charge.
    pub tombstone: bool,
    /// Its id.
    pub id: String,
    /// Counts its changes.
    pub version: i64,
    /// What is paid for.
    pub order: String,
    /// Who pays.
    pub customer: String,
    /// What was asked for, in minor units.
    pub amount_minor: i64,
    /// In which currency.
    pub currency: String,
    /// The stored word for its state.
    pub status: String,
    /// The processor's reference to the capture.
    pub receipt: Option<String>,
    /// What was taken, as the record sums it up.
    pub captured_minor: i64,
    /// What was given back, as the record sums it up.
    pub refunded_minor: i64,
    /// Each refund that was asked for.
    pub refunds: Vec<AuditRefund>,
    /// What is or was held.
    pub held_minor: Option<i64>,
    /// Whether a capture or a void of what is held is in doubt.
    pub settlement_in_doubt: bool,
    /// Whether the charge's step was compensated.
    pub closed: bool,
    /// Its last change.
    pub updated_at: Timestamp,
    /// Why our own programs cannot read it, where they cannot.
    pub unreadable: Option<String>,
}

/// A refund as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRefund {
    /// Names it.
    pub key: String,
    /// How much, in minor units.
    pub amount_minor: i64,
    /// What became of it.
    pub state: AuditRefundState,
}

/// What became of a refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditRefundState {
    /// In doubt.
    Pending,
    /// Given back.
    Done {
        /// The processor's reference.
        receipt: String,
    },
    /// Refused.
    Refused,
}

impl AuditPayment {
    pub(crate) fn unreadable(key: String, why: String) -> Self {
        Self { key, unreadable: Some(why), ..Self::default() }
    }
}

impl From<Document> for AuditPayment {
    fn from(document: Document) -> Self {
        let mut audited = Self {
            key: document.step_key.clone(),
            tombstone: document.kind == TOMBSTONE,
            id: document.payment_id.clone(),
            version: document.version,
            closed: document.closed_at.is_some(),
            updated_at: Timestamp::from_micros(document.updated_at),
            ..Self::default()
        };
        if let Some(asked) = &document.asked {
            audited.order.clone_from(&asked.order_id);
            audited.customer.clone_from(&asked.customer_id);
            audited.amount_minor = asked.amount_minor;
            audited.currency.clone_from(&asked.currency);
        }
        if let Some(state) = &document.state {
            audited.status.clone_from(&state.status);
            audited.receipt.clone_from(&state.receipt);
            audited.captured_minor = state.captured_minor;
            audited.refunded_minor = state.refunded_minor;
            audited.refunds = state.refunds.iter().map(AuditRefund::from).collect();
            audited.held_minor = state.hold.as_ref().map(|hold| hold.amount_minor);
            let mut endings = state.hold.iter().flat_map(|hold| &hold.endings);
            audited.settlement_in_doubt = endings.any(|ending| ending.state == SettlementStateDocument::Pending);
        }
        audited.unreadable = Record::try_from(document).err().map(|error| error.to_string());
        audited
    }
}

impl From<&RefundDocument> for AuditRefund {
    fn from(refund: &RefundDocument) -> Self {
        let state = match &refund.state {
            RefundStateDocument::Pending => AuditRefundState::Pending,
            RefundStateDocument::Refused { .. } => AuditRefundState::Refused,
            RefundStateDocument::Done { receipt, .. } => AuditRefundState::Done { receipt: receipt.clone() },
        };
        Self { key: refund.key.clone(), amount_minor: refund.amount_minor, state }
    }
}

/// Where a page of payments in the order of orders and ids begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start<'a> {
    /// With the first payment of the first order after this one.
    AfterOrder(&'a str),
    /// With the first payment of this order.
    Order(&'a str),
    /// After this payment of this order.
    After {
        /// The order.
        order: &'a str,
        /// The payment.
        payment: &'a str,
    },
}

/// Reads payments page by page. Every call is bounded in time, and nothing is written.
#[async_trait]
pub trait AuditStore: Send + Sync + 'static {
    /// Payments in the order of orders and ids, of no order after `upto`, if one is given.
    async fn by_order(&self, from: Start<'_>, upto: Option<&str>, limit: u32) -> Result<Vec<AuditPayment>, StoreError>;

    /// Payments and tombstones by step key.
    async fn by_key(&self, after: &str, limit: u32) -> Result<Vec<AuditPayment>, StoreError>;

    /// What is on record under a step key.
    async fn of_key(&self, key: &str) -> Result<Option<AuditPayment>, StoreError>;

    /// What the store's other tables say that no payment stands for: keys of refunds, and what others were told.
    async fn breaches(&self) -> Result<Vec<Breach>, StoreError>;
}
