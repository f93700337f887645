//! What an error says about a dependency, and the errors that the layers add.

use std::{fmt, time::Duration};

use service_base::wire;

/// What an error says about the dependency and about trying again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The dependency is well and has answered: a refusal is an answer. Not tried again.
    Answered,
    /// The dependency is not well. Trying again may help, not before `retry_after` if it says so.
    Transient {
        /// What the dependency asks for.
        retry_after: Option<Duration>,
    },
    /// The dependency protects itself, and takes no more calls before `retry_after`. Trying again then may help.
    Limited {
        /// What the dependency asks for.
        retry_after: Duration,
    },
    /// Stopped on our side before anything was sent. It says nothing about the dependency, and is not tried again.
    NotSent,
}

/// Errors that say what they mean for the layers.
pub trait Classify {
    /// What this error says.
    fn verdict(&self) -> Verdict;

    /// A label for metrics (`rpc.status_code`), of few possible values.
    fn label(&self) -> &'static str;

    /// Whether surely nothing was sent, so that nothing can have happened. False where that is not certain.
    ///
    /// Wider than [`Verdict::NotSent`]: a refused connection is a failure of the dependency, although nothing was sent.
    fn nothing_sent(&self) -> bool {
        self.verdict() == Verdict::NotSent
    }

    /// Whether this error says nothing but that it took too long: until an answer, or until there was a connection. Of a dependency in the
    /// same process, that is not a failure of its own.
    fn is_slowness(&self) -> bool {
        false
    }

    /// Whether it took too long because this process had no processor. That is no failure of any dependency.
    fn is_starvation(&self) -> bool {
        false
    }

    /// A label for what went wrong (`error.type`), of few possible values; empty where the dependency is not to blame.
    fn error_type(&self) -> &'static str {
        match self.verdict() {
            Verdict::Transient { .. } | Verdict::Limited { .. } => self.label(),
            Verdict::Answered | Verdict::NotSent => "",
        }
    }
}

impl Classify for tonic::Status {
    fn verdict(&self) -> Verdict {
        match service_base::status::retry_after(self) {
            // No token, for example: another service has failed, and this dependency's breaker must not count it.
            _ if service_base::status::is_given_up(self) => Verdict::NotSent,
            _ if !service_base::status::is_unknown(self) => Verdict::Answered,
            // Without a time to come back it may as well be a full disk.
            Some(retry_after) if self.code() == tonic::Code::ResourceExhausted => Verdict::Limited { retry_after },
            retry_after => Verdict::Transient { retry_after },
        }
    }

    fn label(&self) -> &'static str {
        wire::code_name(self.code())
    }

    fn nothing_sent(&self) -> bool {
        service_base::status::nothing_sent(self)
    }

    fn is_slowness(&self) -> bool {
        // What is given up comes back as either of these from the other side too; a listener of this process is always there.
        matches!(self.code(), tonic::Code::DeadlineExceeded | tonic::Code::Cancelled) || self.nothing_sent()
    }
}

/// Why a layer stopped a call. The error type of a service inside a layer must be able to say it: [`GuardError`] is, of any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// The breaker is open. Nothing was sent.
    Open {
        /// When it lets a probe through.
        retry_after: Duration,
    },
    /// Too many calls at once, and too many that wait. Nothing was sent.
    Full,
    /// The deadline passed before anything was sent.
    TooLate,
    /// The attempt was given up. It may have had an effect.
    TimedOut,
    /// The attempt was given up, and that was noticed late: this process had no processor. It may have had an effect.
    Starved,
}

/// Why a guarded call has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuardError<E> {
    /// The breaker is open. Nothing was sent.
    Open {
        /// When it lets a probe through.
        retry_after: Duration,
    },
    /// Too many calls at once. Nothing was sent.
    Full,
    /// The deadline passed before anything was sent.
    TooLate,
    /// The last attempt was given up. It may have had an effect.
    TimedOut,
    /// The last attempt was given up, and that was noticed late: this process had no processor. It may have had an effect.
    Starved,
    /// The last attempt failed. Whether it may have had an effect is for the error to say, see [`Classify::nothing_sent`].
    Failed(E),
}

impl<E> From<Stopped> for GuardError<E> {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Open { retry_after } => Self::Open { retry_after },
            Stopped::Full => Self::Full,
            Stopped::TooLate => Self::TooLate,
            Stopped::TimedOut => Self::TimedOut,
            Stopped::Starved => Self::Starved,
        }
    }
}

impl<E: Classify> Classify for GuardError<E> {
    fn verdict(&self) -> Verdict {
        match self {
            Self::Open { .. } | Self::Full | Self::TooLate => Verdict::NotSent,
            Self::TimedOut | Self::Starved => Verdict::Transient { retry_after: None },
            Self::Failed(error) => error.verdict(),
        }
    }

    fn label(&self) -> &'static str {
        match self {
            Self::Open { .. } | Self::Full => "UNAVAILABLE",
            Self::TooLate | Self::TimedOut | Self::Starved => "DEADLINE_EXCEEDED",
            Self::Failed(error) => error.label(),
        }
    }

    fn nothing_sent(&self) -> bool {
        match self {
            Self::Open { .. } | Self::Full | Self::TooLate => true,
            Self::TimedOut | Self::Starved => false,
            Self::Failed(error) => error.nothing_sent(),
        }
    }

    fn is_slowness(&self) -> bool {
        match self {
            Self::Open { .. } | Self::Full => false,
            Self::TooLate | Self::TimedOut | Self::Starved => true,
            Self::Failed(error) => error.is_slowness(),
        }
    }

    fn is_starvation(&self) -> bool {
        match self {
            Self::Starved => true,
            Self::Open { .. } | Self::Full | Self::TooLate | Self::TimedOut => false,
            Self::Failed(error) => error.is_starvation(),
        }
    }

    fn error_type(&self) -> &'static str {
        match self {
            Self::Open { .. } | Self::Full | Self::TooLate => "",
            Self::TimedOut => "timeout",
            Self::Starved => "starved",
            Self::Failed(error) => error.error_type(),
        }
    }
}

impl<E: fmt::Display> fmt::Display for GuardError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { .. } => f.write_str("the circuit breaker is open"),
            Self::Full => f.write_str("too many calls at once"),
            Self::TooLate => f.write_str("the deadline passed before the call was made"),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Starved => f.write_str("no answer in time, for want of processor time in this process"),
            Self::Failed(error) => write!(f, "{error}"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for GuardError<E> {}
