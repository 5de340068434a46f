//! Links that are pinned, so that they outlive the agent.

use std::path::Path;

use aya::programs::links::{FdLink, LinkError};

use super::error::BpfError;

/// Pins a link, so that it outlives the agent.
pub(crate) fn keep<L>(link: L, name: &'static str, at: &Path) -> Result<(), BpfError>
where
    FdLink: TryFrom<L, Error = LinkError>,
{
    let link = FdLink::try_from(link).map_err(|source| BpfError::Link {
        name,
        source: Box::new(source),
    })?;
    pin(link, name, at)
}

/// [`keep`], of a link that has a descriptor.
pub(crate) fn pin(link: FdLink, name: &'static str, at: &Path) -> Result<(), BpfError> {
    link.pin(at).map_err(|source| BpfError::Pin {
        name: name.to_owned(),
        source: Box::new(source),
    })?;
    Ok(())
}
