//! What users are told, where nobody looks at a queue.

use zklock::lock::{AcquisitionId, Notice};

/// Which acquisition is spoken of.
pub(crate) fn whose(notice: &Notice) -> AcquisitionId {
    match notice {
        Notice::Granted { id, .. }
        | Notice::Failed { id, .. }
        | Notice::PlaceLost { id }
        | Notice::Lost { id, .. }
        | Notice::Left { id, .. } => *id,
        other => panic!("nobody looks at a queue here: {other:?}"),
    }
}
