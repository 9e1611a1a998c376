package wingbeat

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	queryv1 "wingbeat.dev/client/idl/query/v1"
	watchv1 "wingbeat.dev/client/idl/watch/v1"
)

// heartbeat is how often a quiet watch hears of its server.
const heartbeat = 15 * time.Second

// waitMax is how many executions the server waits for in one call.
const waitMax = 10_000

// End is how an execution ended.
type End struct {
	Execution ExecutionID
	// Phase is SUCCEEDED, FAILED, ABORTED or TIMED_OUT.
	Phase   string
	EndedAt time.Time
	// Err is a *Failure unless the execution succeeded.
	Err error
}

// Wait waits until an execution has ended. The error is of the wait, End.Err that of the execution.
func (c *Client) Wait(ctx context.Context, id ExecutionID) (End, error) {
	ends, err := c.WaitAll(ctx, []ExecutionID{id})
	if err != nil {
		return End{}, err
	}
	return ends[0], nil
}

// WaitAll waits until all executions have ended and returns their ends in the order of ids. It goes on when the server is
// restarted meanwhile. An execution that does not exist is an *Error with code NotFound.
func (c *Client) WaitAll(ctx context.Context, ids []ExecutionID) ([]End, error) {
	ends := make(map[ExecutionID]End, len(ids))
	for attempt := 0; ; attempt++ {
		open := make([]*queryv1.ExecutionIdentifier, 0, len(ids))
		for _, id := range ids {
			if _, ended := ends[id]; !ended && len(open) < waitMax {
				open = append(open, id.message())
			}
		}
		if len(open) == 0 {
			break
		}
		before := len(ends)
		err := c.waitSome(ctx, open, ends)
		if len(ends) > before {
			attempt = 0
		}
		var failed *Error
		if errors.As(err, &failed) && failed.Code == codes.Unavailable {
			if ended := pause(ctx, backoff(attempt)); ended != nil {
				return nil, ended
			}
		} else if err != nil {
			return nil, err
		}
	}
	ordered := make([]End, len(ids))
	for i, id := range ids {
		ordered[i] = ends[id]
	}
	return ordered, nil
}

func (c *Client) waitSome(ctx context.Context, open []*queryv1.ExecutionIdentifier, ends map[ExecutionID]End) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.watch.WaitExecutions(ctx, &watchv1.WaitExecutionsRequest{Executions: open})
	if err != nil {
		return wrap(err)
	}
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return wrap(err)
		}
		for _, end := range message.GetEnds() {
			ends[idOf(end.GetExecution())] = endOf(end)
		}
	}
}

func endOf(message *watchv1.ExecutionEnd) End {
	end := End{
		Execution: idOf(message.GetExecution()),
		Phase:     strings.TrimPrefix(message.GetPhase().String(), "EXECUTION_PHASE_"),
		EndedAt:   message.GetEndedAt().AsTime(),
	}
	if message.GetPhase() != queryv1.ExecutionPhase_EXECUTION_PHASE_SUCCEEDED {
		end.Err = &Failure{end.Execution, end.Phase, message.GetError().GetCode(), message.GetError().GetMessage()}
	}
	return end
}
