package wingbeat

import (
	"context"
	"fmt"
	"iter"

	"github.com/flyteorg/flyte/flyteidl/gen/pb-go/flyteidl/admin"
	"github.com/flyteorg/flyte/flyteidl/gen/pb-go/flyteidl/core"
	"google.golang.org/grpc/codes"
)

// signalsPage is how many signals come in one answer.
const signalsPage = 100

// Signal is a value that a gate of an execution waits for, or has got.
type Signal struct {
	Execution ExecutionID
	ID        string
	// Type of the value; a boolean for an approval.
	Type *core.LiteralType
	// Value that was given; IsSet says whether one was.
	Value any
	IsSet bool
}

// Signals reads what gates of an execution wait for or have got. It ends with the first error.
func (c *Client) Signals(ctx context.Context, id ExecutionID) iter.Seq2[Signal, error] {
	return func(yield func(Signal, error) bool) {
		request := &admin.SignalListRequest{WorkflowExecutionId: id.flyte(), Limit: signalsPage}
		for {
			page, err := called(ctx, true, c.signals.ListSignals, request)
			if err != nil {
				yield(Signal{}, err)
				return
			}
			for _, message := range page.GetSignals() {
				if !yield(signalOf(id, message)) {
					return
				}
			}
			if request.Token = page.GetToken(); request.Token == "" {
				return
			}
		}
	}
}

// SetSignal gives a gate its value: what it asks for, or true (false) for an approval. It is an *Error with code NotFound
// while no gate of that name waits.
func (c *Client) SetSignal(ctx context.Context, id ExecutionID, signal string, value any) error {
	for found, err := range c.Signals(ctx, id) {
		if err != nil {
			return err
		}
		if found.ID != signal {
			continue
		}
		literal, err := Encode(value, found.Type)
		if err != nil {
			return fmt.Errorf("%s: %w", signal, err)
		}
		request := &admin.SignalSetRequest{
			Id:    &core.SignalIdentifier{SignalId: signal, ExecutionId: id.flyte()},
			Value: literal,
		}
		_, err = called(ctx, true, c.signals.SetSignal, request)
		return err
	}
	return &Error{Code: codes.NotFound, Message: fmt.Sprintf("no gate of %s waits for %s", id, signal)}
}

func signalOf(id ExecutionID, message *admin.Signal) (Signal, error) {
	signal := Signal{Execution: id, ID: message.GetId().GetSignalId(), Type: message.GetType()}
	var err error
	if signal.IsSet = message.GetValue().GetValue() != nil; signal.IsSet {
		signal.Value, err = Decode(message.GetValue())
	}
	return signal, err
}
