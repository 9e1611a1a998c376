package wingbeat

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Violation says what is wrong with one field of a request.
type Violation struct {
	Field, Description string
}

// Error is an answer of the server that is not a success, or a call that did not reach it. Use errors.As; errors.Is works
// with context.Canceled and context.DeadlineExceeded.
type Error struct {
	Code       codes.Code
	Message    string
	Violations []Violation
	// RetryAfter is how long the server asks to wait before the call is sent again; 0: it did not say.
	RetryAfter time.Duration
	// Reason and Metadata are of google.rpc.ErrorInfo, where the server sent one.
	Reason   string
	Metadata map[string]string
	cause    error
}

func (e *Error) Error() string {
	text := fmt.Sprintf("%s: %s", e.Code, e.Message)
	for _, violation := range e.Violations {
		text += fmt.Sprintf("; %s: %s", violation.Field, violation.Description)
	}
	return text
}

// Unwrap gives the context's error for calls that ended by it, else the status of gRPC.
func (e *Error) Unwrap() error {
	switch e.Code {
	case codes.Canceled:
		return context.Canceled
	case codes.DeadlineExceeded:
		return context.DeadlineExceeded
	default:
		return e.cause
	}
}

// wrap turns an error of gRPC into *Error; others stay as they are.
func wrap(err error) error {
	if err == nil {
		return nil
	}
	var known *Error
	if errors.As(err, &known) {
		return err
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		err = status.FromContextError(err).Err()
	}
	found, ok := status.FromError(err)
	if !ok {
		return err
	}
	made := &Error{Code: found.Code(), Message: found.Message(), cause: err}
	for _, detail := range found.Details() {
		switch d := detail.(type) {
		case *errdetails.BadRequest:
			for _, violation := range d.GetFieldViolations() {
				made.Violations = append(made.Violations, Violation{violation.GetField(), violation.GetDescription()})
			}
		case *errdetails.RetryInfo:
			made.RetryAfter = d.GetRetryDelay().AsDuration()
		case *errdetails.ErrorInfo:
			made.Reason, made.Metadata = d.GetReason(), d.GetMetadata()
		}
	}
	return made
}

// Failure says why an execution did not succeed.
type Failure struct {
	Execution ExecutionID
	Phase     string
	Code      string
	Message   string
}

func (f *Failure) Error() string {
	return strings.TrimSpace(fmt.Sprintf("%s is %s: %s %s", f.Execution, f.Phase, f.Code, f.Message))
}

// pause waits for d or until the context ends.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return wrap(ctx.Err())
	case <-timer.C:
		return nil
	}
}
