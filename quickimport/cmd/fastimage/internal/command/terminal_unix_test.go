//go:build unix

package command

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"
)

var escapes = regexp.MustCompile("\x1b\\[[0-9;?]*[a-zA-Z]")

// onTerminal runs a command on a terminal of so many columns and gives what it
// has drawn. After the first drawing the terminal gets another width, if that
// is not 0.
func onTerminal(t *testing.T, cmd *exec.Cmd, columns, later uint16) (first, rest string) {
	t.Helper()
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: columns})
	require.NoError(t, err)
	defer tty.Close()
	var mu sync.Mutex
	var out bytes.Buffer
	read := make(chan struct{})
	go func() {
		defer close(read)
		buf := make([]byte, 4096)
		for {
			n, err := tty.Read(buf)
			mu.Lock()
			out.Write(buf[:n])
			mu.Unlock()
			if err != nil {
				return // a terminal whose other end has gone gives EIO, not EOF
			}
		}
	}()
	drawn := func() string {
		mu.Lock()
		defer mu.Unlock()
		return out.String()
	}
	if later > 0 {
		require.Eventually(t, func() bool { return strings.Count(drawn(), "convert") > 2 }, 20*time.Second, 10*time.Millisecond)
		first = drawn()
		require.NoError(t, pty.Setsize(tty, &pty.Winsize{Rows: 24, Cols: later}))
		time.Sleep(300 * time.Millisecond) // what was being drawn has the old width
		mu.Lock()
		out.Reset()
		mu.Unlock()
	}
	<-read
	require.NoError(t, cmd.Wait(), drawn())
	return first, drawn()
}

// bar lines are those that show progress; the prose after them is wrapped by
// the terminal.
func barLines(drawn string) []string {
	var lines []string
	for line := range strings.SplitSeq(escapes.ReplaceAllString(drawn, ""), "\n") {
		for part := range strings.SplitSeq(line, "\r") {
			if regexp.MustCompile(`^(convert|upload|job|verify) .*%`).MatchString(part) {
				lines = append(lines, part)
			}
		}
	}
	return lines
}

// TestTerminal runs the import on a terminal of 80 columns: conversion, upload
// and job have a bar each, none is wider than the terminal, and the result
// comes after them.
func TestTerminal(t *testing.T) {
	t.Parallel()
	_, out := onTerminal(t, command(t, []string{"TERM=xterm"}, append(demo, disk)...), 80, 0)
	text := escapes.ReplaceAllString(out, "")
	require.Contains(t, text, "100 %")
	require.Less(t, strings.LastIndex(text, "100 %"), strings.LastIndex(text, "sizes   disk"))
	phases := map[string]bool{}
	for _, line := range barLines(out) {
		phases[strings.Fields(line)[0]] = true
		require.LessOrEqual(t, utf8.RuneCountInString(line), 80, line)
	}
	require.Equal(t, map[string]bool{"convert": true, "upload": true, "job": true}, phases)
}

// TestDumbTerminal: a terminal that cannot go back to a line gets lines.
func TestDumbTerminal(t *testing.T) {
	t.Parallel()
	_, out := onTerminal(t, command(t, []string{"TERM=dumb"}, append(demo, disk)...), 80, 0)
	require.NotContains(t, out, "\x1b")
	require.Contains(t, out, "upload: 100%")
}

// TestTerminalResized makes the terminal narrower while an import runs.
func TestTerminalResized(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "big.raw")
	f, err := os.Create(name)
	require.NoError(t, err)
	// Digits by chance keep the compressor busy for some seconds.
	random := rand.NewChaCha8([32]byte{1})
	half := make([]byte, 1<<20)
	for i := range int64(4) {
		_, _ = random.Read(half)
		_, err := f.WriteAt([]byte(hex.EncodeToString(half)), i<<22)
		require.NoError(t, err)
	}
	_, err = f.WriteAt(append(make([]byte, 64), 0x55, 0xaa), 446) // boot code, by the look of it
	require.NoError(t, err)
	require.NoError(t, f.Close())
	args := append(demo, "--level", "best", "--workers", "1", name)
	first, rest := onTerminal(t, command(t, []string{"TERM=xterm"}, args...), 80, 60)
	for _, line := range barLines(first) {
		require.LessOrEqual(t, utf8.RuneCountInString(line), 80, line)
	}
	lines := barLines(rest)
	require.NotEmpty(t, lines)
	for _, line := range lines {
		require.LessOrEqual(t, utf8.RuneCountInString(line), 60, line)
	}
}

// TestProgressModes: what is asked for is drawn, on a pipe too.
func TestProgressModes(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string]string{
		"auto":  "(?m)^upload: 100%",
		"plain": "(?m)^convert: 100%, 64MiB of 64MiB.*, 52MiB skipped$",
		"bar":   `upload +\[.*100 %`,
		"none":  "^(warning|image) ",
	} {
		r := fastimage(t, nil, append(demo, "--progress", mode, disk)...)
		require.Zero(t, r.code, r.stderr)
		require.Regexp(t, want, escapes.ReplaceAllString(r.stderr, ""), mode)
		require.Regexp(t, imageID, r.stdout)
	}
	requireError(t, fastimage(t, nil, "info", "--progress", "loud", disk), exitUsage, "auto, bar, plain or none")
}
