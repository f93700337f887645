//! Types that stand for a text, and enums whose variants have words: what all of them have, written once.
//!
//! Must not know: which texts are good.

/// Gives an enum without fields its words: `ALL`, the method that says a variant's word, and `from_name`, which reads it back.
///
/// A variant that is missing, comes twice or is out of its place does not compile.
///
/// ```
/// # use amends_primitives::words;
/// #[derive(Debug, Clone, Copy, PartialEq)]
/// enum Light { Red, Green }
/// words!(Light, /// As people call it.
///     name { Red => "red", Green => "green" });
/// assert_eq!(Light::from_name(Light::Red.name()), Some(Light::Red));
/// ```
#[macro_export]
macro_rules! words {
    ($enum:ident, $(#[$doc:meta])* $name:ident { $($variant:ident => $word:literal),+ $(,)? }) => {
        impl $enum {
            /// All of them.
            pub const ALL: [Self; [$($word),+].len()] = [$(Self::$variant),+];

            $(#[$doc])*
            pub const fn $name(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }

            /// By its word.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.into_iter().find(|one| one.$name() == name)
            }
        }

        // What is listed twice would be a warning in a `match`, but not in a macro.
        const _: () = {
            let mut at = 0;
            while at < $enum::ALL.len() {
                assert!($enum::ALL[at] as usize == at, "the words are not in the order of the variants");
                at += 1;
            }
        };
    };
}

/// Displays types as the text that their method of that name returns: `display_as!(Status => name)`.
#[macro_export]
macro_rules! display_as {
    ($($type:ident => $text:ident),+) => {
        $(impl ::std::fmt::Display for $type {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.$text())
            }
        })+
    };
}

/// Shows types in logs as they are displayed: `debug_as_displayed!(Money)`.
#[macro_export]
macro_rules! debug_as_displayed {
    ($($type:ident),+) => {
        $(impl ::std::fmt::Debug for $type {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Display::fmt(self, f)
            }
        })+
    };
}

/// Gives wrappers of a text `as_str` and `Display`.
#[macro_export]
macro_rules! as_text {
    ($($type:ident),+) => {
        $(impl $type {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        })+

        $crate::display_as!($($type => as_str),+);
    };
}
