//go:build unix

package command

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/quickimport/imstest"
)

const root = "../../../../.."

// fence is a fenced piece of a document.
type fence struct{ kind, text string }

var fenced = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$")

func fences(t *testing.T, name string) []fence {
	t.Helper()
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	var out []fence
	for _, m := range fenced.FindAllStringSubmatch(string(data), -1) {
		out = append(out, fence{m[1], m[2]})
	}
	return out
}

// shell runs commands as a reader of the documents would: in a directory that
// has the project's testdata, with fastimage in the PATH.
type shell struct {
	dir string
	env []string
}

func newShell(t *testing.T) *shell {
	t.Helper()
	dir := t.TempDir()
	self, err := os.Executable()
	require.NoError(t, err)
	testdata, err := filepath.Abs(filepath.Join(root, "testdata"))
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "bin"), 0o700))
	require.NoError(t, os.Symlink(self, filepath.Join(dir, "bin", "fastimage")))
	require.NoError(t, os.Symlink(testdata, filepath.Join(dir, "testdata")))
	s := &shell{dir: dir}
	for _, e := range command(t, nil).Env {
		if !strings.HasPrefix(e, "PATH=") {
			s.env = append(s.env, e)
		}
	}
	s.env = append(s.env, "PATH="+filepath.Join(dir, "bin")+":"+os.Getenv("PATH"))
	return s
}

// run gives what a script prints, and ends what it has left running.
func (s *shell) run(t *testing.T, script string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", script)
	cmd.Dir, cmd.Env = s.dir, s.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := os.CreateTemp(s.dir, "out") // a pipe would wait for what runs in the background
	require.NoError(t, err)
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	err = cmd.Run()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	text, rerr := os.ReadFile(out.Name())
	require.NoError(t, rerr)
	return string(text), err
}

// volatile is what differs from run to run.
var volatile = []struct {
	re *regexp.Regexp
	by string
}{
	{regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`), "<uuid>"},
	{regexp.MustCompile(`\b[0-9a-f]{32}(-\d+)?\b`), "<hex>"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`), "<time>"},
	{regexp.MustCompile(`\b\d+\.\d+ ?s\b`), "<seconds>"},
	{regexp.MustCompile(`, [0-9.]+[KMG]?i?B/s`), ""},
	{regexp.MustCompile(` at [0-9.]+[KMG]?i?B/s \(disk at [0-9.]+[KMG]?i?B/s\)`), ""},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "127.0.0.1:<port>"},
	{regexp.MustCompile(`\(devel\)|v\d+\.\d+\.\d+\S*|go1\.\S+|\((linux|darwin)/\S+`), "<version>"},
}

func steady(text string) string {
	for _, v := range volatile {
		text = v.re.ReplaceAllString(text, v.by)
	}
	return strings.TrimSpace(text)
}

var update = flag.Bool("update", false, "replace what the README shows by what the commands print")

// TestReadmeConsole runs every session that the README shows, in its order, and
// wants the output that is there. With -update it writes the output instead.
func TestReadmeConsole(t *testing.T) {
	t.Parallel()
	readme := filepath.Join(root, "README.md")
	data, err := os.ReadFile(readme)
	require.NoError(t, err)
	s := newShell(t)
	sessions := 0
	for _, b := range fences(t, filepath.Join(root, "README.md")) {
		if b.kind != "console" {
			continue
		}
		for session := range strings.SplitSeq("\n"+b.text, "\n$ ") {
			line, want, _ := strings.Cut(session, "\n")
			if strings.TrimSpace(line) == "" {
				continue
			}
			got, _ := s.run(t, line)
			if *update && steady(want) != steady(got) {
				session, got = strings.TrimRight(line+"\n"+want, "\n"), strings.TrimRight(line+"\n"+got, "\n")
				require.Contains(t, string(data), "$ "+session)
				data = []byte(strings.Replace(string(data), "$ "+session, "$ "+got, 1))
				require.NoError(t, os.WriteFile(readme, data, 0o644))
			} else {
				require.Equal(t, steady(want), steady(got), "README: $ %s (go test -run TestReadmeConsole -update corrects it)", line)
			}
			sessions++
		}
	}
	require.Greater(t, sessions, 3)
}

// TestReadmeScripts runs the scripts that the README shows. What builds or tests
// the project itself is left to the checks that do so.
func TestReadmeScripts(t *testing.T) {
	t.Parallel()
	scripts := 0
	for _, b := range fences(t, filepath.Join(root, "README.md")) {
		if b.kind != "sh" {
			continue
		}
		script := strings.ReplaceAll(b.text, "go run ./quickimport/cmd/fastimage ", "fastimage ")
		script = regexp.MustCompile(`(?m)^(go|git) .*$`).ReplaceAllString(script, "")
		if strings.TrimSpace(script) == "" {
			continue
		}
		out, err := newShell(t).run(t, "set -e\n"+script)
		require.NoError(t, err, "%s\n%s", script, out)
		scripts++
	}
	require.Greater(t, scripts, 1)
}

// TestReadmeGo compiles the Go that the README shows.
func TestReadmeGo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	top, err := filepath.Abs(root)
	require.NoError(t, err)
	overlay := map[string]map[string]string{"Replace": {}}
	for i, b := range fences(t, filepath.Join(root, "README.md")) {
		if b.kind != "go" {
			continue
		}
		source := fmt.Sprintf("package readme\n\nimport (\n\t\"context\"\n\t\"fmt\"\n\t\"github.com/fastimage/fastimage/quickimport\"\n)\n\nfunc readme%d(ctx context.Context) error {\n%s\nreturn nil\n}\n", i, b.text)
		file := filepath.Join(dir, fmt.Sprintf("readme%d.go", i))
		require.NoError(t, os.WriteFile(file, []byte(source), 0o600))
		overlay["Replace"][filepath.Join(top, "quickimport", "readme", filepath.Base(file))] = file
	}
	require.NotEmpty(t, overlay["Replace"])
	data, err := json.Marshal(overlay)
	require.NoError(t, err)
	name := filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(name, data, 0o600))
	cmd := exec.CommandContext(t.Context(), "go", "build", "-overlay", name, "./quickimport/readme")
	cmd.Dir = top
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
}

// stock is what the examples in the help texts work on.
const stock = `set -e
mkdir stock
cd stock
ln -s ../testdata .
fastimage convert -q testdata/disk.raw disk.zvhd2
for f in web.zvhd2 cut.zvhd2 old.zvhd2 in.zvhd2; do cp disk.zvhd2 $f; done
for f in a.qcow2 b.vmdk web.qcow2 debian.qcow2 data.raw disk.raw other.raw appliance.ova; do cp testdata/disk.raw $f; done
gzip -c disk.raw > disk.raw.xz # the content decides, not the name
fastimage bitmap -q disk.raw vendor.mf
fastimage upload -q --region cn-north-4 disk.zvhd2 obs://images/web.zvhd2
fastimage upload -q --region cn-north-4 disk.zvhd2 obs://images/disk.zvhd2
fastimage create -q --no-wait --region cn-north-4 --name job --os-version "Debian GNU/Linux 12 64bit" obs://images/web.zvhd2
`

// TestHelpExamples runs every example in the help texts against a test cloud.
func TestHelpExamples(t *testing.T) {
	t.Parallel()
	srv := imstest.NewServer(t, imstest.WithRegion("cn-north-4"))
	s := newShell(t)
	s.env = append(s.env, "HUAWEICLOUD_SDK_AK="+srv.AccessKey(), "HUAWEICLOUD_SDK_SK="+srv.SecretKey(),
		"FASTIMAGE_IMS_ENDPOINT="+srv.IMSEndpoint(), "FASTIMAGE_OBS_ENDPOINT="+srv.OBSEndpoint(), "FASTIMAGE_IAM_ENDPOINT="+srv.IAMEndpoint())
	out, err := s.run(t, stock)
	require.NoError(t, err, out)
	image := func() string {
		id, err := srv.AddImage(imstest.Image{Name: "listed"})
		require.NoError(t, err)
		return id
	}
	fix := func(script string) string {
		return strings.NewReplacer("8a12fc664fb4daa3014fb4e581380005", srv.Jobs()[0].ID, "ssh backup ", "sh -c ", "--size 10GiB", "--size 64MiB",
			"4ca46bf1-5c61-48ff-b4f3-0ad4e5e3ba86", image()).Replace(script)
	}
	lines := 0
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Name() == "completion" || cmd.Name() == "help" {
			return
		}
		if cmd.RunE != nil && cmd.HasParent() && !cmd.HasSubCommands() {
			require.NotEmpty(t, cmd.Example, cmd.CommandPath())
		}
		for _, script := range examples(cmd) {
			out, err := s.run(t, "set -e\nrm -rf work\ncp -r stock work\ncd work\n"+fix(script))
			require.NoError(t, err, "%s\n%s\n%s", cmd.CommandPath(), script, out)
			lines++
		}
		for _, c := range cmd.Commands() {
			walk(c)
		}
	}
	var sink bytes.Buffer
	walk(newApp(Process{Stdout: &sink, Stderr: &sink, Getenv: os.Getenv}).root())
	require.Greater(t, lines, 20)
}

// examples are the scripts in a command's help: a line each, but for serve,
// whose lines belong together. What a line is to write is removed first.
func examples(cmd *cobra.Command) []string {
	if cmd.Name() == "serve" {
		return []string{cmd.Example}
	}
	var scripts []string
	for line := range strings.Lines(cmd.Example) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		if name := cmd.Name(); name == "convert" || name == "optimize" {
			line = "rm -f '" + strings.Trim(words[len(words)-1], "'") + "'\n" + line
		}
		scripts = append(scripts, line)
	}
	return scripts
}
