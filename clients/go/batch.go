package wingbeat

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	batchv1 "wingbeat.dev/client/idl/batch/v1"
	launchv1 "wingbeat.dev/client/idl/launch/v1"
)

const (
	// rowsMax is how many rows go in one message of an upload.
	rowsMax = 500
	// pollMin and pollMax bound how often WaitBatch asks.
	pollMin, pollMax = 200 * time.Millisecond, 5 * time.Second
)

// BatchSpec says what a batch launches, and how fast.
type BatchSpec struct {
	// Name in the client's project and domain; the same name with the same content is the same batch. Empty: one is made.
	Name string
	// Template is what all rows have in common: the target, inputs of rows that have none of that name, labels.
	Template Item
	// RatePerS is how many executions are launched in a second at most; 0: as fast as it goes.
	RatePerS float64
	// AliveMax is how many executions are alive at once at most; 0: 1,000.
	AliveMax int32
	// RefuseBrokenRows lets a row of a manifest that cannot be read fail by itself, instead of the batch.
	RefuseBrokenRows bool
}

// Manifest is a file of rows in the store of the installation: JSON Lines, CSV or Parquet, by the end of its URI.
type Manifest struct {
	URI string
	// KeyColumn has the row's key and is no input; empty: "@key".
	KeyColumn string
}

// Batch is how a batch stands.
type Batch struct {
	Project, Domain, Name string
	// State is CHECKING, RUNNING, PAUSED, ABORTING, COMPLETED, ABORTED or FAILED.
	State string
	// Reason is why it failed, or what it waits for.
	Reason string
	// Counts of rows by phase, exact in one snapshot.
	Counts     *batchv1.BatchCounts
	ResultsURI string
}

// Ended says whether nothing more will happen, unless rows are retried.
func (b Batch) Ended() bool {
	return slices.Contains([]string{"COMPLETED", "ABORTED", "FAILED"}, b.State)
}

// Succeeded says whether every row did.
func (b Batch) Succeeded() bool {
	return b.State == "COMPLETED" && b.Counts.GetSucceeded() == b.Counts.GetTotal()
}

// BatchResult is one line of the results: how one attempt of a row ended.
type BatchResult struct {
	Row     int64  `json:"row"`
	Line    int64  `json:"line"`
	Key     string `json:"key"`
	Attempt int    `json:"attempt"`
	// Phase is SUCCEEDED, FAILED, TIMED_OUT, ABORTED or REFUSED.
	Phase     string       `json:"phase"`
	Execution *ExecutionID `json:"execution"`
	Error     string       `json:"error"`
	// Outputs by name, for json.Unmarshal; those that are too large lie at OutputsURI.
	Outputs    json.RawMessage `json:"outputs"`
	OutputsURI string          `json:"outputs_uri"`
	EndedAt    time.Time       `json:"ended_at"`
}

// CreateBatch begins a batch from a manifest in the store.
func (c *Client) CreateBatch(ctx context.Context, spec BatchSpec, manifest Manifest) (Batch, error) {
	id, message, err := c.batchSpec(spec)
	if err != nil {
		return Batch{}, err
	}
	request := &batchv1.CreateBatchRequest{
		Id: id, Spec: message, Manifest: &batchv1.Manifest{Uri: manifest.URI, KeyColumn: manifest.KeyColumn},
	}
	return batchAfter(ctx, c.batches.CreateBatch, request)
}

// UploadBatch begins a batch from rows of this program: items of which inputs, name, labels, annotations and priority count,
// and the key, by which results name the row. There is no batch before the last one is stored; after an error the same rows
// with the same name can be sent again.
func (c *Client) UploadBatch(ctx context.Context, spec BatchSpec, rows iter.Seq[Item]) (Batch, error) {
	id, message, err := c.batchSpec(spec)
	if err != nil {
		return Batch{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.batches.UploadBatch(ctx)
	if err != nil {
		return Batch{}, wrap(err)
	}
	request := &batchv1.UploadBatchRequest{Id: id, Spec: message}
	for row := range rows {
		item, err := row.content()
		if err != nil {
			return Batch{}, err
		}
		if request.Rows = append(request.Rows, item); len(request.Rows) == rowsMax {
			if stream.Send(request) != nil {
				break // the answer says why
			}
			request = &batchv1.UploadBatchRequest{}
		}
	}
	// What Send says is only that the stream has ended; the answer says why.
	_ = stream.Send(request)
	answer, err := stream.CloseAndRecv()
	if err != nil {
		return Batch{}, wrap(err)
	}
	return batchOf(answer.GetBatch()), nil
}

// Batch asks how a batch stands.
func (c *Client) Batch(ctx context.Context, name string) (Batch, error) {
	return batchAfter(ctx, c.batches.GetBatch, &batchv1.GetBatchRequest{Id: c.batchID(name)})
}

// PauseBatch launches no further row; executions that run go on.
func (c *Client) PauseBatch(ctx context.Context, name string) (Batch, error) {
	return batchAfter(ctx, c.batches.PauseBatch, &batchv1.PauseBatchRequest{Id: c.batchID(name)})
}

// ResumeBatch goes on launching.
func (c *Client) ResumeBatch(ctx context.Context, name string) (Batch, error) {
	return batchAfter(ctx, c.batches.ResumeBatch, &batchv1.ResumeBatchRequest{Id: c.batchID(name)})
}

// AbortBatch launches no further row and aborts executions that are alive; cause is for people.
func (c *Client) AbortBatch(ctx context.Context, name, cause string) (Batch, error) {
	return batchAfter(ctx, c.batches.AbortBatch, &batchv1.AbortBatchRequest{Id: c.batchID(name), Cause: cause})
}

// RetryBatch launches rows in these phases again, those that failed, timed out or were aborted unless phases are named; it
// returns how many.
func (c *Client) RetryBatch(ctx context.Context, name string, phases ...batchv1.RowPhase) (int64, error) {
	request := &batchv1.RetryBatchRequest{Id: c.batchID(name), Phases: phases}
	answer, err := called(ctx, true, c.batches.RetryBatch, request)
	return answer.GetRows(), err
}

// WaitBatch waits until a batch has ended.
func (c *Client) WaitBatch(ctx context.Context, name string) (Batch, error) {
	for wait := pollMin; ; wait = min(wait*3/2, pollMax) {
		batch, err := c.Batch(ctx, name)
		if err != nil || batch.Ended() {
			return batch, err
		}
		if err := pause(ctx, wait); err != nil {
			return batch, err
		}
	}
}

// BatchResults reads the results written so far, without the first skip ones. It goes on when the server is restarted. It
// ends with the first error.
func (c *Client) BatchResults(ctx context.Context, name string, skip int64) iter.Seq2[BatchResult, error] {
	return func(yield func(BatchResult, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		request := &batchv1.GetBatchResultsRequest{Id: c.batchID(name), Skip: skip}
		err := retrying(ctx, true, func() error {
			stream, err := c.batches.GetBatchResults(ctx, request)
			for err == nil {
				var message *batchv1.GetBatchResultsResponse
				if message, err = stream.Recv(); errors.Is(err, io.EOF) {
					return nil
				}
				for _, line := range message.GetLines() {
					var result BatchResult
					if err := json.Unmarshal([]byte(line), &result); err != nil {
						return err
					}
					request.Skip++
					if !yield(result, nil) {
						return nil
					}
				}
			}
			return err
		})
		if err != nil {
			yield(BatchResult{}, err)
		}
	}
}

func (c *Client) batchID(name string) *batchv1.BatchIdentifier {
	return &batchv1.BatchIdentifier{Project: c.project, Domain: c.domain, Name: name}
}

func (c *Client) batchSpec(spec BatchSpec) (*batchv1.BatchIdentifier, *batchv1.BatchSpec, error) {
	item, err := spec.Template.message()
	if err != nil {
		return nil, nil, err
	}
	message := &batchv1.BatchSpec{
		Template: &launchv1.LaunchTemplate{
			Target:      item.GetTarget(),
			Inputs:      item.GetInputs(),
			Labels:      item.GetLabels(),
			Annotations: item.GetAnnotations(),
			Priority:    item.Priority,
			Overrides:   item.GetOverrides(),
		},
		RatePerS: spec.RatePerS,
		AliveMax: spec.AliveMax,
	}
	if spec.RefuseBrokenRows {
		message.BrokenRows = batchv1.BrokenRows_BROKEN_ROWS_REFUSE_ROW
	}
	name := spec.Name
	if name == "" {
		name = newName()
	}
	return c.batchID(name), message, nil
}

// batchAfter is how a batch stands after a call, all of which may be repeated.
func batchAfter[Request any, Answer interface{ GetBatch() *batchv1.Batch }](
	ctx context.Context, call unary[Request, Answer], request Request,
) (Batch, error) {
	answer, err := called(ctx, true, call, request)
	if err != nil {
		return Batch{}, err
	}
	return batchOf(answer.GetBatch()), nil
}

func batchOf(message *batchv1.Batch) Batch {
	id := message.GetId()
	return Batch{
		Project:    id.GetProject(),
		Domain:     id.GetDomain(),
		Name:       id.GetName(),
		State:      strings.TrimPrefix(message.GetState().String(), "BATCH_STATE_"),
		Reason:     message.GetMessage(),
		Counts:     message.GetCounts(),
		ResultsURI: message.GetResultsUri(),
	}
}
