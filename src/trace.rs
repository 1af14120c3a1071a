//! Spans and events for `tracing`, where the feature of that name is on. Where
//! it is not, all of this compiles to nothing.

/// An event: a level of `tracing`'s, then what its macro of that name takes.
#[cfg(feature = "tracing")]
macro_rules! event {
    ($level:ident, $($what:tt)+) => { tracing::$level!(target: "zklock", $($what)+) };
}

/// An event that nobody listens to.
#[cfg(not(feature = "tracing"))]
macro_rules! event {
    ($level:ident, $($name:ident = %$value:expr,)* $message:literal) => {{ $(let _ = &$value;)* }};
}

pub(crate) use event;

/// The span of a session's task.
#[derive(Debug, Clone)]
pub(crate) struct Span(#[cfg(feature = "tracing")] tracing::Span);

impl Span {
    #[cfg(feature = "tracing")]
    pub(crate) fn session(servers: impl std::fmt::Display) -> Self {
        Self(tracing::info_span!(target: "zklock", "session", %servers))
    }

    #[cfg(not(feature = "tracing"))]
    pub(crate) fn session(_servers: impl std::fmt::Display) -> Self {
        Self()
    }

    /// Runs `work` within the span.
    #[cfg(feature = "tracing")]
    pub(crate) fn within<R>(&self, work: impl FnOnce() -> R) -> R {
        self.0.in_scope(work)
    }

    /// Runs `work`.
    #[cfg(not(feature = "tracing"))]
    pub(crate) fn within<R>(&self, work: impl FnOnce() -> R) -> R {
        work()
    }
}
