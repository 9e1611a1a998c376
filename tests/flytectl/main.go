// Command flytectl is Flyte's own command line, built for tests/e2e/test_flytectl.py from its module.
package main

import (
	"fmt"
	"os"

	"github.com/flyteorg/flyte/flytectl/cmd"
)

func main() {
	if err := cmd.ExecuteCmd(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
