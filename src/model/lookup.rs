//! Results of looking something up in the cluster. Pure.

use super::secrets::InvalidContent;

/// Result of looking up an object that the spec or the reconcile refers to.
#[derive(Clone, Debug, PartialEq)]
pub enum Found<T> {
    /// The object does not exist.
    Missing,
    /// The object exists but its content is invalid; says why and what to do.
    Invalid(String),
    /// The object's content.
    Present(T),
}

impl<T> Found<T> {
    /// The content, if the object exists and is valid.
    pub fn usable(&self) -> Option<&T> {
        match self {
            Self::Present(content) => Some(content),
            Self::Missing | Self::Invalid(_) => None,
        }
    }
}

impl<T> From<Result<T, InvalidContent>> for Found<T> {
    fn from(read: Result<T, InvalidContent>) -> Self {
        match read {
            Ok(content) => Self::Present(content),
            Err(why) => Self::Invalid(why.to_string()),
        }
    }
}

/// Objects of a kind that the server may not serve.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Seen<T> {
    /// Not known, or not known yet.
    #[default]
    NotYet,
    /// The server does not serve the kind.
    Missing,
    /// The objects.
    Present(T),
}
