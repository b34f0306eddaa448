//! Reading orders: JSON lines, each checked before anything starts.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use longhaul::prelude::WorkflowId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) id: String,
    pub(crate) customer: String,
    pub(crate) items: Vec<Item>,
}

/// One line of an order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Item {
    pub(crate) sku: String,
    pub(crate) quantity: u32,
    pub(crate) price_cents: u64,
}

impl Order {
    pub(crate) fn total_cents(&self) -> u64 {
        let cost = |item: &Item| u64::from(item.quantity).saturating_mul(item.price_cents);
        self.items.iter().map(cost).fold(0, u64::saturating_add)
    }
}

/// Reads the orders of a file, or those that are built in.
pub(crate) fn read(file: Option<&Path>) -> Result<Vec<Order>> {
    match file {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("orders file {} cannot be read", path.display()))?;
            parse(&text).with_context(|| format!("orders file {}", path.display()))
        }
        None => parse(include_str!("orders.jsonl")),
    }
}

fn parse(text: &str) -> Result<Vec<Order>> {
    let mut orders = Vec::new();
    let mut seen = BTreeSet::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let order = parse_line(line).with_context(|| format!("line {}", number + 1))?;
        ensure!(
            seen.insert(order.id.clone()),
            "line {}: field `id`: `{}` was used before",
            number + 1,
            order.id
        );
        orders.push(order);
    }
    ensure!(!orders.is_empty(), "there is no order in it");
    Ok(orders)
}

fn parse_line(line: &str) -> Result<Order> {
    // The parser has seen one line only and would name it the first.
    let value: Value = serde_json::from_str(line)
        .map_err(|error| anyhow::anyhow!("it is not JSON from column {}", error.column()))?;
    let Value::Object(fields) = value else {
        bail!("it is not an object such as {{\"id\":...}}");
    };
    refuse_others(&fields, &["id", "customer", "items"], "")?;
    let id = text(&fields, "id", "")?;
    WorkflowId::new(&id)
        .map_err(|error| anyhow::anyhow!("{error}"))
        .context("field `id`")?;
    ensure!(
        !id.contains(char::is_whitespace),
        "field `id`: it contains a space"
    );
    let items = match fields.get("items") {
        Some(Value::Array(items)) => items,
        Some(_) => bail!("field `items`: it is not a list"),
        None => bail!("field `items` is missing"),
    };
    ensure!(!items.is_empty(), "field `items`: it is empty");
    let items = items
        .iter()
        .enumerate()
        .map(|(number, item)| parse_item(item, &format!("items[{number}].")))
        .collect::<Result<Vec<_>>>()?;
    let skus: BTreeSet<_> = items.iter().map(|item| &item.sku).collect();
    ensure!(
        skus.len() == items.len(),
        "field `items`: the same `sku` occurs twice; add up its `quantity`"
    );
    Ok(Order {
        id,
        customer: text(&fields, "customer", "")?,
        items,
    })
}

fn parse_item(item: &Value, path: &str) -> Result<Item> {
    let Value::Object(fields) = item else {
        bail!(
            "field `{}`: it is not an object",
            path.trim_end_matches('.')
        );
    };
    refuse_others(fields, &["sku", "quantity", "price_cents"], path)?;
    let sku = text(fields, "sku", path)?;
    ensure!(
        !sku.contains(char::is_whitespace),
        "field `{path}sku`: it contains a space"
    );
    let quantity = number(fields, "quantity", path)?;
    ensure!(quantity > 0, "field `{path}quantity`: it is 0");
    let quantity = u32::try_from(quantity)
        .with_context(|| format!("field `{path}quantity`: it is too large"))?;
    Ok(Item {
        sku,
        quantity,
        price_cents: number(fields, "price_cents", path)?,
    })
}

fn refuse_others(fields: &Map<String, Value>, known: &[&str], path: &str) -> Result<()> {
    match fields.keys().find(|field| !known.contains(&field.as_str())) {
        Some(field) => bail!(
            "field `{path}{field}` is not known; there are {}",
            known.join(", ")
        ),
        None => Ok(()),
    }
}

fn text(fields: &Map<String, Value>, field: &str, path: &str) -> Result<String> {
    match fields.get(field) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
        Some(Value::String(_)) => bail!("field `{path}{field}`: it is empty"),
        Some(_) => bail!("field `{path}{field}`: it is not a text"),
        None => bail!("field `{path}{field}` is missing"),
    }
}

fn number(fields: &Map<String, Value>, field: &str, path: &str) -> Result<u64> {
    match fields.get(field) {
        Some(value) => value
            .as_u64()
            .with_context(|| format!("field `{path}{field}`: it is not a whole number from 0")),
        None => bail!("field `{path}{field}` is missing"),
    }
}
