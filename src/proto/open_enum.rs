//! A macro for the integers on the wire that have names but may grow new ones.

/// Defines an enum whose variants have wire values, with `Other(i32)` for every value that has no
/// name yet, so that decoding it cannot fail.
///
/// `from_i32` always chooses the named variant, so two decoded values are equal exactly when their
/// numbers are.
macro_rules! open_enum {
    (
        $(#[$enum_meta:meta])*
        pub enum $name:ident {
            $( $(#[$meta:meta])* $variant:ident = $value:literal, )+
        }
    ) => {
        $(#[$enum_meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $( $(#[$meta])* $variant, )+
            /// A value this crate has no name for, as it came over the wire.
            Other(i32),
        }

        impl $name {
            /// The value with this number on the wire; never fails, see `Other`.
            pub fn from_i32(value: i32) -> Self {
                match value {
                    $( $value => Self::$variant, )+
                    other => Self::Other(other),
                }
            }

            /// The number on the wire.
            pub fn as_i32(self) -> i32 {
                match self {
                    $( Self::$variant => $value, )+
                    Self::Other(value) => value,
                }
            }

            /// The variant's name; `"Other"` for a value without one.
            pub fn name(self) -> &'static str {
                match self {
                    $( Self::$variant => stringify!($variant), )+
                    Self::Other(_) => "Other",
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{} ({})", self.name(), self.as_i32())
            }
        }
    };
}
