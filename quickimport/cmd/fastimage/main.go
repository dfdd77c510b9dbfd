// Command fastimage turns disk images into private images on Huawei Cloud. It
// also converts, inspects, verifies and uploads them, and runs a simulated cloud.
//
// Exit status: 0 done, 1 failed, 2 wrong usage, 3 refused before anything was
// uploaded, 4 the job failed in the cloud, 130 interrupted. Errors are on
// standard error, prefixed "fastimage: ".
package main

import (
	"os"

	"github.com/fastimage/fastimage/quickimport/cmd/fastimage/internal/command"
)

func main() { os.Exit(command.Main()) }
