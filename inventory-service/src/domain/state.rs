//! Where a reservation stands. The rules are in `decide.rs`.

use serde::{Deserialize, Serialize};

/// Where a reservation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its units count as reserved.
    Held,
    /// Given up by the saga that made it.
    Released,
    /// Its time passed before it was committed.
    Expired,
    /// Its units are sold.
    Committed,
    /// Its units were sold and came back.
    Restocked,
}

amends_primitives::words!(
    State,
    /// As stored and as people read it.
    name {
        Held => "held",
        Released => "released",
        Expired => "expired",
        Committed => "committed",
        Restocked => "restocked",
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for state in State::ALL {
            assert_eq!(State::from_name(state.name()), Some(state));
        }
        assert_eq!(State::from_name("HELD"), None);
    }
}
