// Package wingbeat launches executions on a Wingbeat installation, watches them and reads what they made.
//
//	client, err := wingbeat.Dial("127.0.0.1:8089", wingbeat.WithScope("flytesnacks", "development"))
//	outcomes, err := client.Launch(ctx, wingbeat.Item{Workflow: "hello.wf", Inputs: wingbeat.Values{"name": "you"}})
//	end, err := client.Wait(ctx, outcomes[0].Execution)
//
// Every call takes a context and ends when it is cancelled or its deadline passes. Errors of the server are *Error. Calls
// that may be repeated are: those that the server turned away because its engines are behind wait as long as it says, and
// a watch goes on where it was after the server was restarted.
//
// Messages of the services lie in packages below idl; those of FlyteIDL are the published Go module's.
package wingbeat
