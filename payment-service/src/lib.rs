//! Participant: charges and refunds.
