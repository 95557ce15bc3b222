//! What a path names by its id.

use uuid::Uuid;

use super::problem::Problem;
use crate::service::{Code, Error};

/// The id of an erasure, a hold and so on; what is no id is not found.
pub(super) fn id(text: &str, of: &str) -> Result<Uuid, Problem> {
    text.parse()
        .map_err(|_| Problem(Error::new(Code::NotFound, format!("there is no {of} of this id"))))
}
