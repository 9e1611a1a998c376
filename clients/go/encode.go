package wingbeat

import (
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/flyteorg/flyte/flyteidl/gen/pb-go/flyteidl/core"
	"github.com/vmihailenco/msgpack/v5"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Encode turns a Go value into a literal of the type that a gate asks for: the opposite of Decode. Structures are what
// MessagePack makes of maps and structs; the first variant of a union that takes the value counts. Inputs of executions need
// none of this, they are converted by the server.
func Encode(value any, wanted *core.LiteralType) (*core.Literal, error) {
	switch kind := wanted.GetType().(type) {
	case *core.LiteralType_Simple:
		return encodeSimple(value, kind.Simple)
	case *core.LiteralType_EnumType:
		if text, ok := value.(string); ok && slices.Contains(kind.EnumType.GetValues(), text) {
			return primitive(&core.Primitive{Value: &core.Primitive_StringValue{StringValue: text}}), nil
		}
	case *core.LiteralType_UnionType:
		for _, variant := range kind.UnionType.GetVariants() {
			if literal, err := Encode(value, variant); err == nil {
				union := &core.Union{Value: literal, Type: variant}
				return scalar(&core.Scalar{Value: &core.Scalar_Union{Union: union}}), nil
			}
		}
	case *core.LiteralType_CollectionType:
		if items := reflect.ValueOf(value); items.Kind() == reflect.Slice {
			literals := make([]*core.Literal, items.Len())
			for i := range literals {
				literal, err := Encode(items.Index(i).Interface(), kind.CollectionType)
				if err != nil {
					return nil, fmt.Errorf("[%d]: %w", i, err)
				}
				literals[i] = literal
			}
			return &core.Literal{Value: &core.Literal_Collection{Collection: &core.LiteralCollection{Literals: literals}}}, nil
		}
	case *core.LiteralType_MapValueType:
		if entries := reflect.ValueOf(value); entries.Kind() == reflect.Map && entries.Type().Key().Kind() == reflect.String {
			literals := make(map[string]*core.Literal, entries.Len())
			for _, key := range entries.MapKeys() {
				literal, err := Encode(entries.MapIndex(key).Interface(), kind.MapValueType)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", key, err)
				}
				literals[key.String()] = literal
			}
			return &core.Literal{Value: &core.Literal_Map{Map: &core.LiteralMap{Literals: literals}}}, nil
		}
	}
	return nil, misfit(value, wanted)
}

func encodeSimple(value any, simple core.SimpleType) (*core.Literal, error) {
	given := reflect.ValueOf(value)
	switch simple {
	case core.SimpleType_NONE:
		if value == nil {
			return scalar(&core.Scalar{Value: &core.Scalar_NoneType{NoneType: &core.Void{}}}), nil
		}
	case core.SimpleType_BOOLEAN:
		if given.Kind() == reflect.Bool {
			return primitive(&core.Primitive{Value: &core.Primitive_Boolean{Boolean: given.Bool()}}), nil
		}
	case core.SimpleType_INTEGER:
		if given.CanInt() {
			return primitive(&core.Primitive{Value: &core.Primitive_Integer{Integer: given.Int()}}), nil
		}
	case core.SimpleType_FLOAT:
		if given.CanFloat() || given.CanInt() {
			number := given.Convert(reflect.TypeFor[float64]()).Float()
			return primitive(&core.Primitive{Value: &core.Primitive_FloatValue{FloatValue: number}}), nil
		}
	case core.SimpleType_STRING:
		if given.Kind() == reflect.String {
			return primitive(&core.Primitive{Value: &core.Primitive_StringValue{StringValue: given.String()}}), nil
		}
	case core.SimpleType_DATETIME:
		if at, ok := value.(time.Time); ok {
			return primitive(&core.Primitive{Value: &core.Primitive_Datetime{Datetime: timestamppb.New(at)}}), nil
		}
	case core.SimpleType_DURATION:
		if length, ok := value.(time.Duration); ok {
			return primitive(&core.Primitive{Value: &core.Primitive_Duration{Duration: durationpb.New(length)}}), nil
		}
	case core.SimpleType_STRUCT:
		if kind := given.Kind(); kind == reflect.Map || kind == reflect.Struct || kind == reflect.Pointer {
			content, err := msgpack.Marshal(value)
			binary := &core.Binary{Value: content, Tag: "msgpack"}
			return scalar(&core.Scalar{Value: &core.Scalar_Binary{Binary: binary}}), err
		}
	}
	return nil, misfit(value, &core.LiteralType{Type: &core.LiteralType_Simple{Simple: simple}})
}

func scalar(value *core.Scalar) *core.Literal {
	return &core.Literal{Value: &core.Literal_Scalar{Scalar: value}}
}

func primitive(value *core.Primitive) *core.Literal {
	return scalar(&core.Scalar{Value: &core.Scalar_Primitive{Primitive: value}})
}

func misfit(value any, wanted *core.LiteralType) error {
	return fmt.Errorf("%v (%T) does not fit the type %v", value, value, wanted)
}
