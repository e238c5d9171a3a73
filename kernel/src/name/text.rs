//! What every checked text can do: it is read, compared and looked up like the text it holds, and checked again wherever
//! it is read from.

/// Gives `$text`, a wrapper of `Arc<str>` whose `new` checks a text or says `$error`, all that a text has. `$what` is what
/// it is called where one that was written down breaks the rules, `$read` what checks those, if that is not `new`.
macro_rules! checked_text {
    ($text:ident, $error:ident, $what:literal) => {
        checked_text!($text, $error, $what, new);
    };
    ($text:ident, $error:ident, $what:literal, $read:ident) => {
        impl $text {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $text {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::fmt::Debug for $text {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl std::borrow::Borrow<str> for $text {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $text {
            fn eq(&self, other: &str) -> bool {
                &*self.0 == other
            }
        }

        impl PartialEq<&str> for $text {
            fn eq(&self, other: &&str) -> bool {
                &*self.0 == *other
            }
        }

        impl std::str::FromStr for $text {
            type Err = $error;
            fn from_str(text: &str) -> Result<Self, $error> {
                Self::$read(text)
            }
        }

        impl serde::Serialize for $text {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $text {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                Self::$read(&text).map_err(|error| {
                    serde::de::Error::custom(format!(concat!($what, " {:?} {}"), text, error))
                })
            }
        }
    };
}

pub(crate) use checked_text;
