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

impl State {
    /// Every state, for tests and constraints.
    pub const ALL: [Self; 5] = [Self::Held, Self::Released, Self::Expired, Self::Committed, Self::Restocked];

    /// As stored and as people read it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Released => "released",
            Self::Expired => "expired",
            Self::Committed => "committed",
            Self::Restocked => "restocked",
        }
    }

    /// The state of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

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
