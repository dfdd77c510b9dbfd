package main

import (
	"runtime/debug"
)

// version is what the go command recorded when it built the binary.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	v := info.Main.Version
	return v + " " + info.GoVersion
}
