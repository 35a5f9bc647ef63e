//! Over which relays a namespace came: our extension, for links between nodes (docs/protocols/moq-relay.md).
//!
//! Both ends say [`Node`] in SETUP. Then, and only then, NAMESPACE has a [`Route`] behind its suffix: a count and
//! so many numbers. Who has not said it gets what the drafts have.

use crate::error::Violation;
use crate::limits::ROUTE_NODES_MAX;
use crate::wire::{Body, Writer};

/// The number of a node, 1 to 2^53 - 1: what all drafts can write, and JavaScript can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node(u64);

impl Node {
    /// None, if it is out of range.
    pub fn new(id: u64) -> Option<Self> {
        (1..1 << 53).contains(&id).then_some(Self(id))
    }

    /// As a number.
    pub fn get(self) -> u64 {
        self.0
    }
}

/// The nodes that a namespace came over: first the one that took it from its publisher, last the one that tells of it. None at
/// all: its teller does not say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Route(Vec<Node>);

impl Route {
    /// None, if they are more than [`ROUTE_NODES_MAX`], or one stands there twice: nothing comes by itself over a node again.
    pub fn new(nodes: Vec<Node>) -> Option<Self> {
        let again = |(at, node): (usize, &Node)| nodes[..at].contains(node);
        let bad = nodes.len() > ROUTE_NODES_MAX || nodes.iter().enumerate().any(again);
        (!bad).then_some(Self(nodes))
    }

    /// First to last.
    pub fn nodes(&self) -> &[Node] {
        &self.0
    }

    pub(crate) fn decode(body: &mut Body) -> Result<Self, Violation> {
        let count = body.number()?;
        if count == 0 || count > ROUTE_NODES_MAX as u64 {
            return Err(Violation::protocol("a route of no nodes, or of too many"));
        }
        let mut nodes = Vec::new();
        for _ in 0..count {
            let node = Node::new(body.number()?);
            nodes.push(node.ok_or(Violation::protocol("a node whose number is out of range"))?);
        }
        Self::new(nodes).ok_or(Violation::protocol("a route over the same node twice"))
    }

    pub(crate) fn encode(&self, out: &mut Writer<'_>) {
        out.number(self.0.len() as u64);
        for node in &self.0 {
            out.number(node.get());
        }
    }
}
