//! The fingerprint of a participant request: SHA-256 over its protobuf bytes without the step key. Deterministic, because our messages
//! have no maps, and the same in every attempt, because attempts ask the same.

use amends_protos::common::v1::StepKey;
use prost::Message;
use saga_engine::StepContext;

/// The key of `step` for a request; `bare` is that request without a key.
pub(super) fn step_key(step: &StepContext, bare: &impl Message) -> StepKey {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bare.encode_to_vec());
    StepKey {
        saga_id: step.key.saga_id().to_string(),
        step: step.key.step().to_owned(),
        fingerprint: digest.as_ref().to_vec(),
        attempt: step.attempt,
    }
}
