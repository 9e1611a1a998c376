// Command hello launches a workflow that takes a name, waits for it and prints what it made.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	wingbeat "wingbeat.dev/client"
)

func main() {
	ctx := context.Background()
	client, err := wingbeat.Dial(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	outcomes, err := client.Launch(ctx, wingbeat.Item{Workflow: os.Args[2], Inputs: wingbeat.Values{"name": "Go"}})
	if err != nil {
		log.Fatal(err)
	}
	if outcomes[0].Err != nil {
		log.Fatal(outcomes[0].Err)
	}
	end, err := client.Wait(ctx, outcomes[0].Execution)
	if err != nil || end.Err != nil {
		log.Fatal(err, end.Err)
	}
	fmt.Println(client.Outputs(ctx, end.Execution))
}
