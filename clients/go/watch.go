package wingbeat

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	watchv1 "wingbeat.dev/client/idl/watch/v1"
)

// WatchOptions say what a watch tells of.
type WatchOptions struct {
	Filter *watchv1.TransitionFilter
	// Levels; none: executions.
	Levels []watchv1.Level
	// Cursor to go on after; empty: from now on, or from the oldest transition kept with FromOldest.
	Cursor      string
	FromOldest  bool
	WithOutputs bool
}

// Watcher reads transitions in commit order, each once. It is not safe for concurrent use.
type Watcher struct {
	client  *Client
	ctx     context.Context
	cancel  context.CancelFunc
	request *watchv1.WatchTransitionsRequest
	stream  watchv1.WatchService_WatchTransitionsClient
	pending []*watchv1.Transition
	// next is the cursor of the message that pending came with.
	next     string
	attempts int
}

// Watch begins to watch. It returns when the server has said where the watch begins, so that whatever is launched after it
// is seen. Call Close when done, or cancel the context.
func (c *Client) Watch(ctx context.Context, options WatchOptions) (*Watcher, error) {
	ctx, cancel := context.WithCancel(ctx)
	w := &Watcher{client: c, ctx: ctx, cancel: cancel, request: &watchv1.WatchTransitionsRequest{
		Filter:      options.Filter,
		Levels:      options.Levels,
		Cursor:      options.Cursor,
		WithOutputs: options.WithOutputs,
		Heartbeat:   durationpb.New(heartbeat),
	}}
	if options.FromOldest {
		w.request.Start = watchv1.Start_START_OLDEST
	}
	if err := w.receive(); err != nil {
		cancel()
		return nil, err
	}
	return w, nil
}

// Next waits for a transition. When the server goes away it calls again, and goes on with what follows, until the context
// ends. A cursor that is too old, or any other refusal, is an *Error.
func (w *Watcher) Next() (*watchv1.Transition, error) {
	for len(w.pending) == 0 {
		if err := w.receive(); err != nil {
			return nil, err
		}
	}
	first := w.pending[0]
	w.pending = w.pending[1:]
	return first, nil
}

// Cursor is where another watch goes on without what Next has returned. Some of it may come again when Next stands in the
// middle of a message; at the end of one, and in heartbeats, nothing does.
func (w *Watcher) Cursor() string {
	if len(w.pending) == 0 {
		return w.next
	}
	return w.request.Cursor
}

// Close ends the watch.
func (w *Watcher) Close() { w.cancel() }

// receive reads one message, over as many streams as it takes.
func (w *Watcher) receive() error {
	if w.next != "" {
		w.request.Cursor = w.next
	}
	for {
		message, err := w.receiveOnce()
		if err == nil {
			w.attempts = 0
			w.pending, w.next = message.GetTransitions(), message.GetCursor()
			return nil
		}
		w.stream = nil
		var failed *Error
		if !errors.As(err, &failed) {
			return err
		}
		wait := failed.RetryAfter
		if failed.Code != codes.Unavailable && !(failed.Code == codes.ResourceExhausted && wait > 0) {
			return err
		}
		if wait == 0 {
			wait = backoff(w.attempts)
		}
		w.attempts++
		if ended := pause(w.ctx, wait); ended != nil {
			return ended
		}
	}
}

func (w *Watcher) receiveOnce() (*watchv1.WatchTransitionsResponse, error) {
	if w.stream == nil {
		stream, err := w.client.watch.WatchTransitions(w.ctx, w.request)
		if err != nil {
			return nil, wrap(err)
		}
		w.stream = stream
	}
	message, err := w.stream.Recv()
	if errors.Is(err, io.EOF) {
		return nil, &Error{Code: codes.Unavailable, Message: "the server ended the stream", cause: err}
	}
	if err != nil {
		return nil, wrap(err)
	}
	return message, nil
}
