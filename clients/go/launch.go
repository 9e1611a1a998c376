package wingbeat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	launchv1 "wingbeat.dev/client/idl/launch/v1"
)

// itemsMax is how many items the server takes in one call.
const itemsMax = 10_000

// Values are inputs or outputs by name; see Item.Inputs and Decode for their types.
type Values map[string]any

// Item is one execution to be. One of LaunchPlan, Workflow and Task names what runs.
type Item struct {
	// Project and Domain; empty: the client's.
	Project, Domain string
	// LaunchPlan, Workflow (its default launch plan) or Task by name.
	LaunchPlan, Workflow, Task string
	// Version; empty: the newest, or the active one with Active.
	Version string
	Active  bool
	// Inputs are converted by the server after the types of the interface, from what encoding/json makes of them.
	Inputs Values
	// Name of the execution; empty: the server makes one.
	Name string
	// Key makes the item safe to send again: it is launched once.
	Key                 string
	Labels, Annotations map[string]string
	Priority            *int32
	Overrides           *launchv1.Overrides
}

// Status is what became of an item.
type Status int

// What becomes of items.
const (
	// Created: by this call, and durable.
	Created Status = iota + 1
	// Existing: an item with the same key and content was launched before.
	Existing
	// Conflict: the key was used for another item, or the name belongs to another execution.
	Conflict
	// Refused: it cannot be launched; Err says why.
	Refused
)

func (s Status) String() string {
	return [...]string{"unknown", "created", "existing", "conflict", "refused"}[s]
}

// Outcome is what became of one item.
type Outcome struct {
	Status Status
	// Execution that was created or found, or is in the way.
	Execution ExecutionID
	// Err is set for conflicts and refused items.
	Err *Error
}

// Launch launches items, in calls of at most 10,000, and returns an outcome for each, in their order. An item that is
// refused leaves the others alone: look at Outcome.Err. While the engines are behind, it waits as the server says and
// sends the call again; after a call that broke off it sends the call again only if every item has a key, since others
// might be launched twice. The error is of the call that failed; outcomes of calls before it are returned with it.
func (c *Client) Launch(ctx context.Context, items ...Item) ([]Outcome, error) {
	outcomes := make([]Outcome, 0, len(items))
	for len(items) > 0 {
		n := min(len(items), itemsMax)
		made, err := c.launchSome(ctx, items[:n])
		if err != nil {
			return outcomes, err
		}
		outcomes = append(outcomes, made...)
		items = items[n:]
	}
	return outcomes, nil
}

func (c *Client) launchSome(ctx context.Context, items []Item) ([]Outcome, error) {
	request := &launchv1.LaunchRequest{Project: c.project, Domain: c.domain, Items: make([]*launchv1.LaunchItem, len(items))}
	keyed := true
	for i, item := range items {
		message, err := item.message()
		if err != nil {
			return nil, fmt.Errorf("item %d: %w", i, err)
		}
		request.Items[i] = message
		keyed = keyed && item.Key != ""
	}
	answer, err := called(ctx, keyed, c.launch.Launch, request)
	if err != nil {
		return nil, err
	}
	outcomes := make([]Outcome, len(answer.GetOutcomes()))
	for i, outcome := range answer.GetOutcomes() {
		outcomes[i] = outcomeOf(outcome)
	}
	return outcomes, nil
}

func (item Item) message() (*launchv1.LaunchItem, error) {
	target, err := item.target()
	if err != nil {
		return nil, err
	}
	message, err := item.content()
	if err != nil {
		return nil, err
	}
	message.Target = target
	return message, nil
}

func (item Item) target() (*launchv1.Target, error) {
	target := &launchv1.Target{Version: item.Version, Selection: launchv1.VersionSelection_VERSION_SELECTION_NEWEST}
	if item.Active {
		target.Selection = launchv1.VersionSelection_VERSION_SELECTION_ACTIVE
	}
	switch {
	case item.LaunchPlan != "":
		target.Kind, target.Name = launchv1.TargetKind_TARGET_KIND_LAUNCH_PLAN, item.LaunchPlan
	case item.Workflow != "":
		target.Kind, target.Name = launchv1.TargetKind_TARGET_KIND_WORKFLOW, item.Workflow
	case item.Task != "":
		target.Kind, target.Name = launchv1.TargetKind_TARGET_KIND_TASK, item.Task
	default:
		return nil, errors.New("it names no launch plan, workflow or task")
	}
	return target, nil
}

// content is the item without what it runs, which rows of batches do not say.
func (item Item) content() (*launchv1.LaunchItem, error) {
	message := &launchv1.LaunchItem{
		Project:        item.Project,
		Domain:         item.Domain,
		Name:           item.Name,
		IdempotencyKey: item.Key,
		Labels:         item.Labels,
		Annotations:    item.Annotations,
		Priority:       item.Priority,
		Overrides:      item.Overrides,
	}
	if item.Inputs != nil {
		text, err := json.Marshal(item.Inputs)
		if err != nil {
			return nil, err
		}
		message.Inputs = &launchv1.Inputs{Form: &launchv1.Inputs_Json{Json: string(text)}}
	}
	return message, nil
}

func outcomeOf(message *launchv1.LaunchOutcome) Outcome {
	outcome := Outcome{Status: Status(message.GetStatus()), Execution: idOf(message.GetExecution())}
	if outcome.Status == Conflict || outcome.Status == Refused {
		outcome.Err = &Error{Code: codes.Code(message.GetCode()), Message: message.GetMessage()}
		for _, violation := range message.GetViolations() {
			outcome.Err.Violations = append(outcome.Err.Violations, Violation{violation.GetField(), violation.GetDescription()})
		}
	}
	return outcome
}

// unary is a call of one message for another, as stubs have them.
type unary[Request, Answer any] func(context.Context, Request, ...grpc.CallOption) (Answer, error)

// called calls, as often as retrying does.
func called[Request, Answer any](
	ctx context.Context, repeatable bool, call unary[Request, Answer], request Request,
) (answer Answer, err error) {
	err = retrying(ctx, repeatable, func() error {
		answer, err = call(ctx, request)
		return err
	})
	return answer, err
}

// retrying calls again while the server asks for patience and, if the call may be repeated, while it cannot be reached,
// until the context ends.
func retrying(ctx context.Context, repeatable bool, call func() error) error {
	for attempt := 0; ; attempt++ {
		err := wrap(call())
		if err == nil {
			return nil
		}
		var failed *Error
		if !errors.As(err, &failed) {
			return err
		}
		wait := failed.RetryAfter
		asked := failed.Code == codes.ResourceExhausted && wait > 0
		if !asked && !(repeatable && failed.Code == codes.Unavailable) {
			return err
		}
		if wait == 0 {
			wait = backoff(attempt)
		}
		if pause(ctx, wait) != nil {
			return err
		}
	}
}

// backoff is how long to wait before try number attempt+1: from 50 ms doubled up to 5 s, a random part of it.
func backoff(attempt int) time.Duration {
	most := min(50*time.Millisecond<<min(attempt, 10), 5*time.Second)
	return most/2 + rand.N(most/2)
}
