// Command conformance plays the scenarios of clients/conformance with this client; their README says what each step means.
package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/reflect/protoreflect"

	wingbeat "wingbeat.dev/client"
	queryv1 "wingbeat.dev/client/idl/query/v1"
)

const stepTimeout = time.Minute

type expectedError struct {
	Code   string   `json:"code"`
	Fields []string `json:"fields"`
}

type step struct {
	Do        string           `json:"do"`
	Items     []map[string]any `json:"items"`
	Repeat    int              `json:"repeat"`
	As        json.RawMessage  `json:"as"`
	Of        json.RawMessage  `json:"of"`
	Statuses  []string         `json:"statuses"`
	Errors    []*expectedError `json:"errors"`
	Phases    []string         `json:"phases"`
	Contains  json.RawMessage  `json:"contains"`
	Index     int              `json:"index"`
	Equal     json.RawMessage  `json:"equal"`
	Prefix    string           `json:"prefix"`
	TimeoutMs int              `json:"timeout_ms"`
	AfterMs   int              `json:"after_ms"`
	Call      string           `json:"call"`
	Name      string           `json:"name"`
	Code      string           `json:"code"`
	Task      string           `json:"task"`
	Workflow  string           `json:"workflow"`
	Rows      json.RawMessage  `json:"rows"`
	AliveMax  int32            `json:"alive_max"`
	State     string           `json:"state"`
	Counts    map[string]int64 `json:"counts"`
	Skip      int64            `json:"skip"`
	Count     int              `json:"count"`
	Signal    string           `json:"signal"`
	Value     any              `json:"value"`
	Cause     string           `json:"cause"`
}

type scenario struct {
	Name  string `json:"name"`
	Steps []step `json:"steps"`
}

type player struct {
	client   *wingbeat.Client
	run      string
	launched map[string][]wingbeat.Outcome
	batches  map[string]string
	watch    *wingbeat.Watcher
	prefix   string
	stdin    *bufio.Reader
}

func main() {
	stdin := bufio.NewReader(os.Stdin)
	for i, path := range os.Args[2:] {
		name, err := play(os.Args[1], path, fmt.Sprintf("go%d%s", i, strconv.FormatInt(time.Now().UnixNano(), 36)), stdin)
		line := map[string]any{"scenario": name, "ok": err == nil}
		if err != nil {
			line["error"] = err.Error()
		}
		say(line)
	}
}

func say(line map[string]any) {
	text, err := json.Marshal(line)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(text))
}

func play(endpoint, path, run string, stdin *bufio.Reader) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return path, err
	}
	var s scenario
	if err := json.Unmarshal(content, &s); err != nil {
		return path, err
	}
	var options []wingbeat.Option
	if ca := os.Getenv("CA_CERT"); ca != "" {
		options = append(options, wingbeat.WithCA(ca))
	}
	client, err := wingbeat.Dial(endpoint, options...)
	if err != nil {
		return s.Name, err
	}
	defer client.Close()
	p := &player{client: client, run: run, launched: map[string][]wingbeat.Outcome{}, batches: map[string]string{}, stdin: stdin}
	for number, step := range s.Steps {
		if err := p.play(step); err != nil {
			return s.Name, fmt.Errorf("step %d (%s): %w", number, step.Do, err)
		}
	}
	return s.Name, nil
}

func (p *player) play(s step) error {
	ctx, cancel := context.WithTimeout(context.Background(), stepTimeout)
	defer cancel()
	switch s.Do {
	case "launch":
		return p.doLaunch(ctx, s)
	case "same":
		return p.doSame(s)
	case "wait":
		return p.doWait(ctx, s)
	case "outputs":
		return p.doOutputs(ctx, s)
	case "watch":
		watch, err := p.client.Watch(context.Background(), wingbeat.WatchOptions{})
		p.watch, p.prefix = watch, p.filled(s.Prefix)
		return err
	case "watched":
		return p.doWatched(s)
	case "restart":
		say(map[string]any{"restart": true})
		_, err := p.stdin.ReadString('\n')
		return err
	case "deadline":
		limited, cancel := context.WithTimeout(ctx, time.Duration(s.TimeoutMs)*time.Millisecond)
		defer cancel()
		return p.ends(limited, s, context.DeadlineExceeded)
	case "cancel":
		limited, cancel := context.WithCancel(ctx)
		time.AfterFunc(time.Duration(s.AfterMs)*time.Millisecond, cancel)
		return p.ends(limited, s, context.Canceled)
	case "fails":
		return p.doFails(ctx, s)
	case "batch":
		return p.doBatch(ctx, s)
	case "batch_wait":
		return p.doBatchWait(ctx, s)
	case "batch_change":
		return p.doBatchChange(ctx, s)
	case "batch_results":
		return p.doBatchResults(ctx, s)
	case "signals":
		return p.doSignals(ctx, s)
	case "signal":
		return refused(p.client.SetSignal(ctx, p.ids(s.Of)[0], s.Signal, input(s.Value)), s.Code)
	case "terminate":
		return refused(p.client.Terminate(ctx, p.ids(s.Of)[0], p.filled(s.Cause)), s.Code)
	case "relaunch":
		made, err := p.client.Relaunch(ctx, p.ids(s.Of)[0])
		return p.keep(s, made, err)
	case "recover":
		made, err := p.client.Recover(ctx, p.ids(s.Of)[0], wingbeat.RecoverOptions{})
		return p.keep(s, made, err)
	default:
		return fmt.Errorf("an unknown step")
	}
}

func (p *player) items(fields []map[string]any, repeat int) []wingbeat.Item {
	var items []wingbeat.Item
	for n := range max(repeat, 1) {
		for _, item := range fields {
			items = append(items, p.item(item, n))
		}
	}
	return items
}

func (p *player) doLaunch(ctx context.Context, s step) error {
	items := p.items(s.Items, s.Repeat)
	outcomes, err := p.client.Launch(ctx, items...)
	if err != nil {
		return err
	}
	p.launched[p.text(s.As)] = outcomes
	for i, outcome := range outcomes {
		if wanted := s.Statuses[i%len(s.Statuses)]; outcome.Status.String() != wanted {
			return fmt.Errorf("item %d is %s and not %s: %v", i, outcome.Status, wanted, outcome.Err)
		}
	}
	for i, wanted := range s.Errors {
		if wanted == nil {
			continue
		}
		err := outcomes[i].Err
		if err == nil || code(err) != wanted.Code {
			return fmt.Errorf("item %d: error %v is not %s", i, err, wanted.Code)
		}
		for _, field := range wanted.Fields {
			if !slices.ContainsFunc(err.Violations, func(v wingbeat.Violation) bool { return v.Field == field }) {
				return fmt.Errorf("item %d: %v does not name %s", i, err, field)
			}
		}
	}
	return nil
}

func (p *player) item(fields map[string]any, n int) wingbeat.Item {
	text := func(name string) string {
		value, _ := fields[name].(string)
		return strings.ReplaceAll(p.filled(value), "{n}", strconv.Itoa(n))
	}
	item := wingbeat.Item{Task: text("task"), Workflow: text("workflow"), Name: text("name"), Key: text("key")}
	if labels, ok := fields["labels"].(map[string]any); ok {
		item.Labels = map[string]string{}
		for key, value := range labels {
			item.Labels[key] = value.(string)
		}
	}
	if inputs, ok := fields["inputs"].(map[string]any); ok {
		item.Inputs = wingbeat.Values{}
		for name, value := range inputs {
			item.Inputs[name] = input(value)
		}
	}
	return item
}

// input is what a program would give for a value of a scenario.
func input(value any) any {
	if items, ok := value.([]any); ok {
		given := make([]any, len(items))
		for i, item := range items {
			given[i] = input(item)
		}
		return given
	}
	if number, ok := value.(float64); ok && number == math.Trunc(number) && math.Abs(number) < 1<<53 {
		return int64(number)
	}
	entries, ok := value.(map[string]any)
	if !ok {
		return value
	}
	if number, ok := entries["integer"].(string); ok {
		return json.Number(number)
	}
	return repeated(entries)
}

func repeated(entries map[string]any) any {
	if parts, ok := entries["$repeat"].([]any); ok {
		return strings.Repeat(parts[0].(string), int(parts[1].(float64)))
	}
	return entries
}

func (p *player) doSame(s step) error {
	one, other := p.outcome(s.Of), p.outcome(s.As)
	if one.Execution != other.Execution {
		return fmt.Errorf("%s is not %s", one.Execution, other.Execution)
	}
	return nil
}

func (p *player) outcome(raw json.RawMessage) wingbeat.Outcome {
	var pair []any
	if err := json.Unmarshal(raw, &pair); err != nil {
		panic(err)
	}
	return p.launched[pair[0].(string)][int(pair[1].(float64))]
}

func (p *player) doWait(ctx context.Context, s step) error {
	ends, err := p.client.WaitAll(ctx, p.ids(s.Of))
	if err != nil {
		return err
	}
	var contains []string
	if s.Contains != nil {
		if err := json.Unmarshal(s.Contains, &contains); err != nil {
			return err
		}
	}
	for i, end := range ends {
		if wanted := s.Phases[i%len(s.Phases)]; end.Phase != wanted {
			return fmt.Errorf("%s is %s and not %s: %v", end.Execution, end.Phase, wanted, end.Err)
		}
		if (end.Err == nil) != (end.Phase == "SUCCEEDED") {
			return fmt.Errorf("%s is %s with error %v", end.Execution, end.Phase, end.Err)
		}
		if i < len(contains) && contains[i] != "" && !strings.Contains(end.Err.Error(), contains[i]) {
			return fmt.Errorf("%q is not in %q", contains[i], end.Err)
		}
	}
	return nil
}

func (p *player) doOutputs(ctx context.Context, s step) error {
	values, err := p.client.Outputs(ctx, p.ids(s.Of)[s.Index])
	if err != nil {
		return err
	}
	got := plain(map[string]any(values)).(map[string]any)
	var equal map[string]any
	if err := json.Unmarshal(s.Equal, &equal); err != nil {
		return err
	}
	wanted := map[string]any{}
	for name, value := range equal {
		wanted[name] = plain(input(value))
	}
	for name := range wanted {
		if !reflect.DeepEqual(got[name], wanted[name]) {
			return fmt.Errorf("%s is %v and not %v", name, got[name], wanted[name])
		}
	}
	if len(got) != len(wanted) {
		return fmt.Errorf("there are %d outputs and not %d", len(got), len(wanted))
	}
	return nil
}

// plain is the form of values that scenarios compare.
func plain(value any) any {
	switch v := value.(type) {
	case wingbeat.Values:
		return plain(map[string]any(v))
	case map[string]any:
		entries := map[string]any{}
		for key, item := range v {
			entries[key] = plain(item)
		}
		return entries
	case []any:
		items := make([]any, len(v))
		for i, item := range v {
			items[i] = plain(item)
		}
		return items
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	case time.Duration:
		return map[string]any{"seconds": v.Seconds()}
	case wingbeat.File:
		return map[string]any{"uri": v.URI}
	case json.Number:
		return v.String()
	case string:
		if len([]rune(v)) > 1000 {
			digest := sha256.Sum256([]byte(v))
			return map[string]any{"length": len([]rune(v)), "sha256": hex.EncodeToString(digest[:])}
		}
		return v
	case nil, bool:
		return v
	default:
		number := reflect.ValueOf(v)
		if number.CanInt() && (number.Int() > 1<<53 || number.Int() < -1<<53) {
			return strconv.FormatInt(number.Int(), 10)
		}
		return number.Convert(reflect.TypeFor[float64]()).Float()
	}
}

func (p *player) doWatched(s step) error {
	defer p.watch.Close()
	time.AfterFunc(stepTimeout, p.watch.Close)
	var names []string
	if err := json.Unmarshal(s.Of, &names); err != nil {
		return err
	}
	open := map[string]bool{}
	for _, name := range names {
		for _, outcome := range p.launched[name] {
			open[outcome.Execution.Name] = true
		}
	}
	seen := map[string]bool{}
	for len(open) > 0 {
		transition, err := p.watch.Next()
		if err != nil {
			return fmt.Errorf("%w with %d executions open", err, len(open))
		}
		name := transition.GetExecution().GetName()
		if !strings.HasPrefix(name, p.prefix) {
			continue
		}
		phase := transition.GetExecutionPhase()
		once := name + " " + phase.String()
		if seen[once] {
			return fmt.Errorf("%s came twice", once)
		}
		seen[once] = true
		if transition.GetIsFinal() {
			if !open[name] {
				return fmt.Errorf("%s ended twice, or is unknown", name)
			}
			delete(open, name)
			if !seen[name+" "+queryv1.ExecutionPhase_EXECUTION_PHASE_RUNNING.String()] {
				return fmt.Errorf("%s ended and was never running", name)
			}
		}
	}
	return nil
}

func (p *player) ends(ctx context.Context, s step, wanted error) error {
	_, err := p.client.WaitAll(ctx, p.ids(s.Of))
	if !errors.Is(err, wanted) {
		return fmt.Errorf("the call ended with %v and not %v", err, wanted)
	}
	return nil
}

func (p *player) doFails(ctx context.Context, s step) error {
	id := p.client.Execution(p.filled(s.Name))
	var err error
	if s.Call == "wait" {
		_, err = p.client.Wait(ctx, id)
	} else {
		_, err = p.client.Outputs(ctx, id)
	}
	var failed *wingbeat.Error
	if !errors.As(err, &failed) || code(failed) != s.Code {
		return fmt.Errorf("%v is not %s", err, s.Code)
	}
	if wanted := p.filled(p.text(s.Contains)); !strings.Contains(failed.Error(), wanted) {
		return fmt.Errorf("%q is not in %q", wanted, failed)
	}
	return nil
}

func (p *player) doBatch(ctx context.Context, s step) error {
	spec := wingbeat.BatchSpec{
		Name:     p.filled(s.Name),
		Template: wingbeat.Item{Task: s.Task, Workflow: s.Workflow},
		AliveMax: s.AliveMax,
	}
	var batch wingbeat.Batch
	var err error
	if s.Rows == nil {
		batch, err = p.client.CreateBatch(ctx, spec, wingbeat.Manifest{URI: os.Getenv("MANIFEST")})
	} else {
		var rows []map[string]any
		if err := json.Unmarshal(s.Rows, &rows); err != nil {
			return err
		}
		batch, err = p.client.UploadBatch(ctx, spec, slices.Values(p.items(rows, s.Repeat)))
	}
	p.batches[p.text(s.As)] = batch.Name
	return err
}

func (p *player) doBatchWait(ctx context.Context, s step) error {
	batch, err := p.client.WaitBatch(ctx, p.batches[p.text(s.Of)])
	if err != nil {
		return err
	}
	if batch.State != s.State {
		return fmt.Errorf("the batch is %s and not %s: %s", batch.State, s.State, batch.Reason)
	}
	counts := batch.Counts.ProtoReflect()
	for name, wanted := range s.Counts {
		field := counts.Descriptor().Fields().ByName(protoreflect.Name(name))
		if got := counts.Get(field).Int(); got != wanted {
			return fmt.Errorf("%d rows are %s and not %d", got, name, wanted)
		}
	}
	return nil
}

func (p *player) doBatchChange(ctx context.Context, s step) error {
	name := p.filled(s.Name)
	if name == "" {
		name = p.batches[p.text(s.Of)]
	}
	var batch wingbeat.Batch
	var err error
	switch s.Call {
	case "pause":
		batch, err = p.client.PauseBatch(ctx, name)
	case "resume":
		batch, err = p.client.ResumeBatch(ctx, name)
	case "abort":
		batch, err = p.client.AbortBatch(ctx, name, "it is a test")
	case "retry":
		rows, err := p.client.RetryBatch(ctx, name)
		if err == nil && strconv.FormatInt(rows, 10) != string(s.Rows) {
			err = fmt.Errorf("%d rows are launched again and not %s", rows, s.Rows)
		}
		return err
	}
	if err == nil && s.State != "" && batch.State != s.State {
		err = fmt.Errorf("the batch is %s and not %s", batch.State, s.State)
	}
	return refused(err, s.Code)
}

func (p *player) doBatchResults(ctx context.Context, s step) error {
	var got []wingbeat.BatchResult
	for result, err := range p.client.BatchResults(ctx, p.batches[p.text(s.Of)], s.Skip) {
		if err != nil {
			return err
		}
		got = append(got, result)
	}
	var equal []struct {
		Key, Phase, Error string
		Attempt           int
		Outputs           any
	}
	if s.Equal != nil {
		if err := json.Unmarshal(s.Equal, &equal); err != nil {
			return err
		}
	}
	if wanted := max(s.Count, len(equal)); len(got) != wanted {
		return fmt.Errorf("there are %d results and not %d", len(got), wanted)
	}
	for _, wanted := range equal {
		if !slices.ContainsFunc(got, func(r wingbeat.BatchResult) bool {
			var outputs any
			_ = json.Unmarshal(r.Outputs, &outputs)
			return r.Key == wanted.Key && r.Attempt == wanted.Attempt && r.Phase == wanted.Phase &&
				strings.Contains(r.Error, wanted.Error) && reflect.DeepEqual(outputs, wanted.Outputs) &&
				(r.Execution == nil) == (r.Phase == "REFUSED")
		}) {
			return fmt.Errorf("%v is not among %v", wanted, got)
		}
	}
	return nil
}

func (p *player) doSignals(ctx context.Context, s step) error {
	var equal map[string]any
	if err := json.Unmarshal(s.Equal, &equal); err != nil {
		return err
	}
	for {
		got := map[string]any{}
		for signal, err := range p.client.Signals(ctx, p.ids(s.Of)[0]) {
			if err != nil {
				return err
			}
			if (signal.Value != nil) != signal.IsSet {
				return fmt.Errorf("%s is set: %t, and has %v", signal.ID, signal.IsSet, signal.Value)
			}
			got[signal.ID] = plain(signal.Value)
		}
		if reflect.DeepEqual(got, equal) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("gates are %v and not %v", got, equal)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// keep keeps an execution that was made of another one.
func (p *player) keep(s step, made wingbeat.ExecutionID, err error) error {
	if err == nil && made == p.ids(s.Of)[0] {
		err = fmt.Errorf("%s is the same execution", made)
	}
	p.launched[p.text(s.As)] = []wingbeat.Outcome{{Status: wingbeat.Created, Execution: made}}
	return err
}

// refused is the error of a call, unless it has the code that it should have.
func refused(err error, wanted string) error {
	if wanted == "" {
		return err
	}
	var failed *wingbeat.Error
	if !errors.As(err, &failed) || code(failed) != wanted {
		return fmt.Errorf("%v is not %s", err, wanted)
	}
	return nil
}

func (p *player) ids(raw json.RawMessage) []wingbeat.ExecutionID {
	var ids []wingbeat.ExecutionID
	for _, outcome := range p.launched[p.text(raw)] {
		if outcome.Err == nil {
			ids = append(ids, outcome.Execution)
		}
	}
	return ids
}

func (p *player) text(raw json.RawMessage) string {
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		panic(err)
	}
	return text
}

func (p *player) filled(text string) string { return strings.ReplaceAll(text, "{run}", p.run) }

// code is the name of a status as the protocol writes it.
func code(err *wingbeat.Error) string {
	for name, number := range map[string]codes.Code{
		"ALREADY_EXISTS": codes.AlreadyExists, "INVALID_ARGUMENT": codes.InvalidArgument, "NOT_FOUND": codes.NotFound,
		"FAILED_PRECONDITION": codes.FailedPrecondition,
	} {
		if err.Code == number {
			return name
		}
	}
	return err.Code.String()
}
