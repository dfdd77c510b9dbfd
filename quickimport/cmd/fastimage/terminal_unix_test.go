//go:build unix

package main

import (
	"bytes"
	"io"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"
)

var escapes = regexp.MustCompile("\x1b\\[[0-9;?]*[a-zA-Z]")

// TestTerminal runs the import on a terminal of 80 columns: bars are drawn,
// none is wider than the terminal, and the result comes after them.
func TestTerminal(t *testing.T) {
	cmd := command(t, []string{"TERM=xterm"}, append(demo, disk)...)
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
	require.NoError(t, err)
	defer tty.Close()
	var out bytes.Buffer
	// Reading a terminal whose other end has gone gives EIO, not EOF.
	_, _ = io.Copy(&out, tty)
	require.NoError(t, cmd.Wait(), out.String())
	text := escapes.ReplaceAllString(out.String(), "")
	require.Contains(t, text, "upload")
	require.Contains(t, text, "100 %")
	require.Less(t, strings.LastIndex(text, "100 %"), strings.LastIndex(text, "sizes   disk"))
	for line := range strings.SplitSeq(text, "\n") {
		if i := strings.LastIndex(strings.TrimRight(line, "\r"), "\r"); i >= 0 {
			line = line[i+1:]
		}
		if strings.HasPrefix(line, "note") || strings.HasPrefix(line, "time") {
			continue // prose, which the terminal wraps
		}
		require.LessOrEqual(t, utf8.RuneCountInString(strings.TrimRight(line, "\r")), 80, line)
	}
}
