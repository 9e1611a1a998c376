package wingbeat

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/flyteorg/flyte/flyteidl/gen/pb-go/flyteidl/admin"
	"github.com/flyteorg/flyte/flyteidl/gen/pb-go/flyteidl/core"
	"github.com/vmihailenco/msgpack/v5"
	"google.golang.org/protobuf/proto"
)

// File is a file or folder of an execution, or a table (Format says of what kind); its content lies at URI.
type File struct {
	URI    string
	Format string
	// IsFolder is set for a blob of several parts.
	IsFolder bool
	// IsTable is set for schemas and structured data sets.
	IsTable bool
}

// Outputs reads what an execution that succeeded has made.
func (c *Client) Outputs(ctx context.Context, id ExecutionID) (Values, error) {
	answer, err := c.data(ctx, id)
	if err != nil {
		return nil, err
	}
	return c.read(ctx, answer.GetFullOutputs(), answer.GetOutputs().GetUrl())
}

// Inputs reads what an execution was given.
func (c *Client) Inputs(ctx context.Context, id ExecutionID) (Values, error) {
	answer, err := c.data(ctx, id)
	if err != nil {
		return nil, err
	}
	return c.read(ctx, answer.GetFullInputs(), answer.GetInputs().GetUrl())
}

func (c *Client) data(ctx context.Context, id ExecutionID) (*admin.WorkflowExecutionGetDataResponse, error) {
	request := &admin.WorkflowExecutionGetDataRequest{
		Id: &core.WorkflowExecutionIdentifier{Project: id.Project, Domain: id.Domain, Name: id.Name},
	}
	answer, err := c.admin.GetExecutionData(ctx, request)
	return answer, wrap(err)
}

// read decodes values that came with the answer, or gets them from the link when they were too large for it.
func (c *Client) read(ctx context.Context, literals *core.LiteralMap, link string) (Values, error) {
	if len(literals.GetLiterals()) == 0 && link != "" {
		fetched, err := c.fetch(ctx, link)
		if err != nil {
			return nil, err
		}
		literals = fetched
	}
	values := make(Values, len(literals.GetLiterals()))
	for name, literal := range literals.GetLiterals() {
		value, err := Decode(literal)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		values[name] = value
	}
	return values, nil
}

func (c *Client) fetch(ctx context.Context, link string) (*core.LiteralMap, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, link, nil)
	if err != nil {
		return nil, err
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("values not read: the blob store answered %s", answer.Status)
	}
	literals := &core.LiteralMap{}
	return literals, proto.Unmarshal(content, literals)
}

// Decode turns a literal into a Go value: nil, bool, int64, float64, string, time.Time, time.Duration, []any,
// map[string]any (maps of literals, structs and dataclasses) and File. Unions give their value, enums their text.
// MessagePack is decoded with its own types of numbers.
func Decode(literal *core.Literal) (any, error) {
	switch value := literal.GetValue().(type) {
	case *core.Literal_Scalar:
		return decodeScalar(value.Scalar)
	case *core.Literal_Collection:
		items := make([]any, len(value.Collection.GetLiterals()))
		for i, item := range value.Collection.GetLiterals() {
			decoded, err := Decode(item)
			if err != nil {
				return nil, err
			}
			items[i] = decoded
		}
		return items, nil
	case *core.Literal_Map:
		entries := make(map[string]any, len(value.Map.GetLiterals()))
		for key, item := range value.Map.GetLiterals() {
			decoded, err := Decode(item)
			if err != nil {
				return nil, err
			}
			entries[key] = decoded
		}
		return entries, nil
	case *core.Literal_OffloadedMetadata:
		return File{URI: value.OffloadedMetadata.GetUri(), Format: "literal"}, nil
	default:
		return nil, fmt.Errorf("a literal of unknown kind %T", value)
	}
}

func decodeScalar(scalar *core.Scalar) (any, error) {
	switch value := scalar.GetValue().(type) {
	case *core.Scalar_NoneType:
		return nil, nil
	case *core.Scalar_Primitive:
		return decodePrimitive(value.Primitive)
	case *core.Scalar_Union:
		return Decode(value.Union.GetValue())
	case *core.Scalar_Generic:
		return value.Generic.AsMap(), nil
	case *core.Scalar_Blob:
		kind := value.Blob.GetMetadata().GetType()
		isFolder := kind.GetDimensionality() == core.BlobType_MULTIPART
		return File{URI: value.Blob.GetUri(), Format: kind.GetFormat(), IsFolder: isFolder}, nil
	case *core.Scalar_Schema:
		return File{URI: value.Schema.GetUri(), IsTable: true}, nil
	case *core.Scalar_StructuredDataset:
		format := value.StructuredDataset.GetMetadata().GetStructuredDatasetType().GetFormat()
		return File{URI: value.StructuredDataset.GetUri(), Format: format, IsTable: true}, nil
	case *core.Scalar_Binary:
		if value.Binary.GetTag() != "msgpack" {
			return value.Binary.GetValue(), nil
		}
		var decoded any
		err := msgpack.Unmarshal(value.Binary.GetValue(), &decoded)
		return decoded, err
	case *core.Scalar_Error:
		return nil, fmt.Errorf("an error of node %s: %s", value.Error.GetFailedNodeId(), value.Error.GetMessage())
	default:
		return nil, fmt.Errorf("a scalar of unknown kind %T", value)
	}
}

func decodePrimitive(primitive *core.Primitive) (any, error) {
	switch value := primitive.GetValue().(type) {
	case *core.Primitive_Integer:
		return value.Integer, nil
	case *core.Primitive_FloatValue:
		return value.FloatValue, nil
	case *core.Primitive_StringValue:
		return value.StringValue, nil
	case *core.Primitive_Boolean:
		return value.Boolean, nil
	case *core.Primitive_Datetime:
		return value.Datetime.AsTime(), nil
	case *core.Primitive_Duration:
		return value.Duration.AsDuration(), nil
	default:
		return nil, fmt.Errorf("a primitive of unknown kind %T", value)
	}
}
