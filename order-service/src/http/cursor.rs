//! Cursors: opaque to callers, an order's id to us. Base64url keeps people from building on what is inside.

use amends_primitives::OrderId;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

pub(crate) fn encode(id: OrderId) -> String {
    URL_SAFE_NO_PAD.encode(id.as_uuid().as_bytes())
}

pub(crate) fn decode(text: &str) -> Option<OrderId> {
    let bytes: [u8; 16] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
    Some(OrderId::new(uuid::Uuid::from_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back_and_nothing_else() {
        let id = OrderId::new(uuid::Uuid::from_u128(7));
        assert_eq!(decode(&encode(id)), Some(id));
        for bad in ["", "x", "AAAA", "0198c0de-0000-7000-8000-000000000000", "????????????????????????"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
