package wingbeat

import (
	"context"
	"errors"
	"math/rand/v2"

	"github.com/flyteorg/flyte/flyteidl/gen/pb-go/flyteidl/admin"
	"github.com/flyteorg/flyte/flyteidl/gen/pb-go/flyteidl/core"
	"google.golang.org/grpc/codes"

	recoveryv1 "wingbeat.dev/client/idl/recovery/v1"
)

// RecoverOptions say what a recovery runs again.
type RecoverOptions struct {
	// Name of the new execution; empty: one is made.
	Name string
	// Version of the launch plan or task; empty: the one that the execution ran.
	Version string
	// Rerun names tasks ("*" stands for any characters) and ids of nodes that run in any case.
	Rerun []string
	// AssumeUnchanged names tasks and ids of nodes whose code counts as unchanged.
	AssumeUnchanged []string
}

// Terminate aborts an execution; cause is for people. An execution that has ended is an *Error with code
// FailedPrecondition.
func (c *Client) Terminate(ctx context.Context, id ExecutionID, cause string) error {
	_, err := called(ctx, true, c.admin.TerminateExecution, &admin.ExecutionTerminateRequest{Id: id.flyte(), Cause: cause})
	return err
}

// Relaunch runs an execution once more, as a new one.
func (c *Client) Relaunch(ctx context.Context, id ExecutionID) (ExecutionID, error) {
	request := &admin.ExecutionRelaunchRequest{Id: id.flyte(), Name: newName()}
	answer, err := called(ctx, true, c.admin.RelaunchExecution, request)
	if err != nil {
		return c.madeBefore(ctx, ExecutionID{id.Project, id.Domain, request.Name}, err)
	}
	made := answer.GetId()
	return ExecutionID{made.GetProject(), made.GetDomain(), made.GetName()}, nil
}

// Recover makes a new execution that takes over what succeeded in this one.
func (c *Client) Recover(ctx context.Context, id ExecutionID, options RecoverOptions) (ExecutionID, error) {
	request := &recoveryv1.RecoverExecutionRequest{
		Execution:       id.message(),
		Name:            options.Name,
		Version:         options.Version,
		Rerun:           options.Rerun,
		AssumeUnchanged: options.AssumeUnchanged,
	}
	if request.Name == "" {
		request.Name = newName()
	}
	answer, err := called(ctx, true, c.recovery.RecoverExecution, request)
	if err != nil && options.Name == "" {
		return c.madeBefore(ctx, ExecutionID{id.Project, id.Domain, request.Name}, err)
	}
	return idOf(answer.GetExecution()), err
}

// madeBefore is the execution whose name was made here, if a call whose answer was lost has made it; else the error.
func (c *Client) madeBefore(ctx context.Context, id ExecutionID, err error) (ExecutionID, error) {
	var failed *Error
	if errors.As(err, &failed) && failed.Code == codes.AlreadyExists {
		request := &admin.WorkflowExecutionGetRequest{Id: id.flyte()}
		if _, absent := called(ctx, true, c.admin.GetExecution, request); absent == nil {
			return id, nil
		}
	}
	return ExecutionID{}, err
}

func (id ExecutionID) flyte() *core.WorkflowExecutionIdentifier {
	return &core.WorkflowExecutionIdentifier{Project: id.Project, Domain: id.Domain, Name: id.Name}
}

// newName is a name that nothing else has: a letter, and 19 letters and digits.
func newName() string {
	const alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
	name := []byte{'a'}
	for range 19 {
		name = append(name, alphabet[rand.N(len(alphabet))])
	}
	return string(name)
}
