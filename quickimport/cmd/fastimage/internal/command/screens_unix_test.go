//go:build unix

package command

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/creack/pty"
	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

// widths are those of terminals that the screens are made for.
var widths = []int{60, 80, 120}

// screen is what a terminal shows after it was sent text: enough of one for the
// sequences that bars use.
func screen(text string) []string {
	lines, row, col := [][]rune{{}}, 0, 0
	put := func(r rune) {
		for len(lines[row]) <= col {
			lines[row] = append(lines[row], ' ')
		}
		lines[row][col] = r
		col++
	}
	escape := regexp.MustCompile(`^\x1b\[([0-9;?]*)([a-zA-Z])`)
	for len(text) > 0 {
		if m := escape.FindStringSubmatch(text); m != nil {
			text = text[len(m[0]):]
			switch n, _ := strconv.Atoi(m[1]); m[2] {
			case "A":
				row = max(0, row-max(n, 1))
			case "J":
				lines[row] = lines[row][:min(col, len(lines[row]))]
				lines = lines[:row+1]
			case "K":
				lines[row] = lines[row][:min(col, len(lines[row]))]
			}
			continue
		}
		r, n := utf8.DecodeRuneInString(text)
		text = text[n:]
		switch r {
		case '\r':
			col = 0
		case '\n':
			if row++; row == len(lines) {
				lines = append(lines, nil)
			}
		default:
			put(r)
		}
	}
	var out []string
	for _, l := range lines {
		out = append(out, strings.TrimRight(string(l), " "))
	}
	return out
}

// terminal runs a command on a terminal of so many columns, with its errors.
func terminal(t *testing.T, cmd *exec.Cmd, columns int, during func(drawn func() string, tty *os.File)) string {
	t.Helper()
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 50, Cols: uint16(columns)})
	require.NoError(t, err)
	defer tty.Close()
	var out lockedBuffer
	read := make(chan struct{})
	go func() {
		defer close(read)
		buf := make([]byte, 4096)
		for {
			n, err := tty.Read(buf)
			_, _ = out.Write(buf[:n])
			if err != nil {
				return
			}
		}
	}()
	if during != nil {
		during(out.String, tty)
	}
	<-read
	_ = cmd.Wait()
	return out.String()
}

// prose is wrapped by the terminal.
var prose = regexp.MustCompile(`^(connecting|warning|fastimage:|\S+: (imported|failed|warning))`)

func requireNarrow(t *testing.T, text string, columns int) {
	t.Helper()
	for _, line := range screen(text) {
		if prose.MatchString(line) {
			continue
		}
		require.LessOrEqual(t, utf8.RuneCountInString(line), columns, line)
	}
}

// The help of every command fits every terminal.
func TestHelpFits(t *testing.T) {
	t.Parallel()
	var walk func(cmd *cobra.Command)
	var paths [][]string
	walk = func(cmd *cobra.Command) {
		paths = append(paths, strings.Fields(cmd.CommandPath())[1:])
		for _, c := range cmd.Commands() {
			if c.Name() != "completion" {
				walk(c)
			}
		}
	}
	var sink bytes.Buffer
	walk(newApp(Process{Stdout: &sink, Stderr: &sink, Getenv: os.Getenv}).root())
	for _, columns := range widths {
		for _, path := range paths {
			var out, errs lockedBuffer
			env := environment(t, []string{"COLUMNS=" + strconv.Itoa(columns)})
			require.Zero(t, Run(t.Context(), Process{Args: append(path, "--help"), Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Getenv: env}))
			for line := range strings.Lines(out.String()) {
				words := strings.Fields(line)
				// What has no spaces, and what a help text shows as it is, cannot be broken.
				if len(words) > 2 && !strings.HasPrefix(line, "  ") {
					require.LessOrEqual(t, utf8.RuneCountInString(strings.TrimRight(line, "\n")), columns, "%v: %s", path, line)
				}
			}
			require.Contains(t, out.String(), "Global flags:\n")
		}
	}
	r := fastimage(t, nil, "import", "--help")
	for _, heading := range []string{"Image flags:", "Source flags:", "Upload flags:", "Import flags:", "Cloud flags:", "Output flags:"} {
		require.Contains(t, r.stdout, "\n"+heading+"\n")
	}
	r = fastimage(t, nil, "--help")
	for _, heading := range []string{"Images in the cloud:", "Disk images and ZVHD2 files:", "Tools:"} {
		require.Contains(t, r.stdout, "\n"+heading+"\n")
	}
}

// Progress of one image and of twelve, the table at the end, and a list.
func TestScreens(t *testing.T) {
	t.Parallel()
	_, env := testCloud(t)
	env = append(env, "TERM=xterm")
	var names []string
	for _, n := range strings.Fields("a b c d e f g h i j k a-name-that-is-too-long-for-the-room-beside-a-bar") {
		names = append(names, n+".raw")
	}
	_, files := copies(t, names...)
	for i, columns := range widths {
		prefix := []string{"import", "--overwrite", "--os-version", "Debian GNU/Linux 12 64bit", "--guest-check", "off"}
		name := "one-" + strconv.Itoa(columns)
		one := terminal(t, command(t, env, append(prefix, "--name", name, files[0])...), columns, nil)
		requireNarrow(t, strings.Split(one, "object  ")[0], columns)
		require.Contains(t, one, "connecting to ")
		require.Contains(t, one, "100 %")
		if i == 0 {
			many := terminal(t, command(t, env, append(prefix, files...)...), columns, nil)
			requireNarrow(t, many, columns)
			require.Contains(t, many, "12 of 12 images")
			for _, line := range screen(many) {
				require.NotContains(t, line, "[=", "a bar is left on the screen")
			}
		}
		list := terminal(t, command(t, env, "images"), columns, nil)
		requireNarrow(t, list, columns)
		require.Contains(t, list, name)
		require.Equal(t, columns == 60, !strings.Contains(list, "CREATED"), "a narrow terminal gets blocks")
	}
}

// Ctrl-C leaves no half bar on the screen, only what happened.
func TestInterruptedScreen(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "out.zvhd2")
	cmd := command(t, []string{"TERM=xterm"}, "convert", "--level", "best", "--to", "zvhd2", slow(t, 64<<20), out)
	text := terminal(t, cmd, 80, func(drawn func() string, tty *os.File) {
		require.Eventually(t, func() bool { return strings.Contains(drawn(), "convert") }, time.Minute, 10*time.Millisecond)
		_, err := tty.Write([]byte{3})
		require.NoError(t, err)
	})
	require.Equal(t, exitInterrupted, cmd.ProcessState.ExitCode())
	lines := screen(text)
	var shown []string
	for _, line := range lines {
		if line != "" && line != "^C" {
			shown = append(shown, strings.TrimPrefix(line, "^C"))
		}
	}
	require.Len(t, shown, 1, "%q", lines)
	require.True(t, strings.HasPrefix(shown[0], "fastimage: interrupted"), "%q", lines)
}

// Colour on terminals, unless NO_COLOR is set.
func TestColour(t *testing.T) {
	t.Parallel()
	for env, coloured := range map[string]bool{"TERM=xterm": true, "NO_COLOR=1": false, "TERM=dumb": false} {
		text := terminal(t, command(t, []string{"TERM=xterm", env}, "info", "none.raw"), 80, nil)
		require.Equal(t, coloured, strings.Contains(text, "\x1b["), "%s: %q", env, text)
		require.Contains(t, strings.Join(screen(text), "\n"), "fastimage: ")
	}
}
