//! Typed names of signals and of workflow data, made as constants.

use std::fmt;
use std::marker::PhantomData;

macro_rules! typed_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        pub struct $name<T> {
            name: &'static str,
            value: PhantomData<fn() -> T>,
        }

        impl<T> $name<T> {
            /// Makes a name; the constant is the only place that spells it.
            #[must_use]
            pub const fn new(name: &'static str) -> Self {
                Self {
                    name,
                    value: PhantomData,
                }
            }

            /// Returns the text.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                self.name
            }
        }

        impl<T> Clone for $name<T> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<T> Copy for $name<T> {}

        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), self.name)
            }
        }
    };
}

typed_name!(
    /// Names a signal whose value is a `T`.
    ///
    /// ```
    /// use longhaul_core::context::Signal;
    ///
    /// const APPROVED: Signal<bool> = Signal::new("approved");
    /// assert_eq!(APPROVED.name(), "approved");
    /// ```
    Signal
);

typed_name!(
    /// Names a value of type `T` in the workflow data of a run.
    Data
);

/// Is what may be given for a value of type `T`: a `T`, or text for a `String`.
pub trait IntoValue<T> {
    /// Makes the value.
    fn into_value(self) -> T;
}

impl<T> IntoValue<T> for T {
    fn into_value(self) -> T {
        self
    }
}

impl IntoValue<String> for &str {
    fn into_value(self) -> String {
        self.to_owned()
    }
}
