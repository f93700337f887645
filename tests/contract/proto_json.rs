//! Protobuf messages as the JSON that the protobuf specification defines for them, through the real types' descriptors: a field
//! that the contract names and the type does not have is an error, not a silent loss.

use anyhow::Context;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions, prost::Message};
use serde_json::Value;

/// Decodes proto3-JSON into the generated type `T`, whose full name is `name`.
pub(crate) fn decode<T: Message + Default>(name: &str, json: &Value) -> anyhow::Result<T> {
    let message =
        DynamicMessage::deserialize(descriptor(name)?, json).with_context(|| format!("not a {name}: {json}"))?;
    Ok(T::decode(message.encode_to_vec().as_slice())?)
}

/// Encodes a generated message as proto3-JSON with the proto files' field names.
pub(crate) fn encode<T: Message>(name: &str, message: &T) -> anyhow::Result<Value> {
    let message = DynamicMessage::decode(descriptor(name)?, message.encode_to_vec().as_slice())?;
    let options = SerializeOptions::new().use_proto_field_name(true);
    Ok(message.serialize_with_options(serde_json::value::Serializer, &options)?)
}

fn descriptor(name: &str) -> anyhow::Result<MessageDescriptor> {
    let pool = DescriptorPool::decode(amends_protos::FILE_DESCRIPTOR_SET)?;
    pool.get_message_by_name(name).with_context(|| format!("no message {name}"))
}
