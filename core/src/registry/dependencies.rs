//! Values that the worker injects into tasks, by type.
//!
//! Invariants: at most one value per type; the value is found by the type as the task writes it, so `Dep<dyn Gateway>` and
//! `Dep<Gateway>` are two different needs.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// Gives a task a value that its worker was built with.
///
/// A parameter of this type is no part of the task's stored arguments, nor of the call that starts it.
pub struct Dep<T: ?Sized>(Arc<T>);

impl<T: ?Sized> Dep<T> {
    /// Wraps a value that is shared already.
    #[must_use]
    pub fn from_arc(value: Arc<T>) -> Self {
        Self(value)
    }

    /// Returns the shared value.
    #[must_use]
    pub fn into_arc(self) -> Arc<T> {
        self.0
    }
}

impl<T> Dep<T> {
    /// Wraps a value, to call a helper that takes a dependency from a test.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<T: ?Sized> Deref for Dep<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: ?Sized> Clone for Dep<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: ?Sized> fmt::Debug for Dep<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dep<{}>", std::any::type_name::<T>())
    }
}

/// Names the type of a dependency in a definition, which is a constant.
#[derive(Debug, Clone, Copy)]
pub struct DependencyKey {
    /// Returns the name of the type, for messages.
    pub type_name: fn() -> &'static str,
    /// Returns what identifies the type.
    pub type_id: fn() -> TypeId,
}

impl DependencyKey {
    /// Makes the key of `T`.
    #[must_use]
    pub const fn of<T: ?Sized + 'static>() -> Self {
        Self {
            type_name: std::any::type_name::<T>,
            type_id: TypeId::of::<T>,
        }
    }
}

/// Holds the values of a worker's `provide` calls.
#[derive(Clone, Default)]
pub struct Dependencies {
    by_type: HashMap<TypeId, Provided>,
}

#[derive(Clone)]
struct Provided {
    type_name: &'static str,
    value: Arc<dyn Any + Send + Sync>,
}

impl Dependencies {
    /// Makes an empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value for `Dep<T>`, in place of the one before.
    pub fn insert<T: Send + Sync + 'static>(&mut self, value: T) {
        self.insert_arc(Arc::new(value));
    }

    /// Adds a shared value for `Dep<T>`, which may be a trait object, in place of the one before.
    pub fn insert_arc<T: ?Sized + Send + Sync + 'static>(&mut self, value: Arc<T>) {
        let provided = Provided {
            type_name: std::any::type_name::<T>(),
            value: Arc::new(value),
        };
        self.by_type.insert(TypeId::of::<T>(), provided);
    }

    /// Returns the value for `Dep<T>`.
    #[must_use]
    pub fn get<T: ?Sized + Send + Sync + 'static>(&self) -> Option<Dep<T>> {
        let provided = self.by_type.get(&TypeId::of::<T>())?;
        provided
            .value
            .downcast_ref::<Arc<T>>()
            .map(|value| Dep(Arc::clone(value)))
    }

    /// Tells whether there is a value for `key`.
    #[must_use]
    pub fn contains(&self, key: &DependencyKey) -> bool {
        self.by_type.contains_key(&(key.type_id)())
    }
}

impl fmt::Debug for Dependencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names: Vec<_> = self.by_type.values().map(|v| v.type_name).collect();
        names.sort_unstable();
        f.debug_set().entries(names).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    trait Gateway: Send + Sync {
        fn name(&self) -> String;
    }

    struct Bank;

    impl Gateway for Bank {
        fn name(&self) -> String {
            "bank".to_owned()
        }
    }

    #[test]
    fn value_is_found_by_its_type() {
        let mut dependencies = Dependencies::new();
        dependencies.insert(7_u32);
        assert_eq!(dependencies.get::<u32>().map(|found| *found), Some(7));
        assert!(dependencies.get::<u64>().is_none());
        assert!(dependencies.contains(&DependencyKey::of::<u32>()));
    }

    #[test]
    fn trait_object_is_found_by_its_trait() {
        let mut dependencies = Dependencies::new();
        dependencies.insert_arc::<dyn Gateway>(Arc::new(Bank));
        assert_eq!(dependencies.get::<dyn Gateway>().unwrap().name(), "bank");
        assert!(dependencies.get::<Bank>().is_none());
    }

    #[test]
    fn debug_shows_types_and_no_values() {
        let mut dependencies = Dependencies::new();
        dependencies.insert(String::from("canary"));
        assert_eq!(format!("{dependencies:?}"), "{\"alloc::string::String\"}");
    }
}
