package command

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/quickimport/imstest"
)

// Commands, flags and values that are nearly right.
func TestDidYouMean(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"imprt"}, "did you mean import?"},
		{[]string{"help", "convrt"}, "did you mean convert?"},
		{[]string{"uploads", "lst"}, "did you mean list?"},
		{[]string{"images", "delte"}, "did you mean delete?"},
		{[]string{"import", "--os-versoin", "x"}, "did you mean --os-version?"},
		{[]string{"import", "--overwrit", "x"}, "did you mean --overwrite?"},
		{[]string{"convert", "--level", "fast", disk, "x.zvhd2"}, "did you mean fastest?"},
		{[]string{"convert", "--to", "zvhd", disk, "x"}, "did you mean zvhd2?"},
		{[]string{"images", "--output", "jsn"}, "did you mean json?"},
		{[]string{"info", "--source-format", "QCOW2", disk}, "did you mean qcow2?"},
		{[]string{"info", "htps://host/x"}, "did you mean https?"},
	} {
		requireError(t, fastimage(t, nil, c.args...), exitUsage, c.want)
	}
	requireError(t, fastimage(t, nil, "zzzzzz"), exitUsage, `unknown command "zzzzzz"; see`)
}

// With --json an error is one object on the last line of standard error.
func TestJSONErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"info", "--json", "none.raw"}, exitFailed, "none.raw"},
		{[]string{"info", "--json"}, exitUsage, "0 arguments"},
		{[]string{"info", "--json", "--frobnicate", disk}, exitUsage, "--frobnicate"},
		{[]string{"import", "--local", "--json", "--name", "a/b", "--os-version", "Debian GNU/Linux 12 64bit", disk}, exitRefused, "1 problem found"},
	} {
		r := fastimage(t, nil, c.args...)
		require.Equal(t, c.status, r.code, r.stderr)
		require.Empty(t, r.stdout)
		lines := strings.Split(strings.TrimSpace(r.stderr), "\n")
		var report struct{ Error diagnosis }
		require.NoError(t, json.Unmarshal([]byte(lines[len(lines)-1]), &report), r.stderr)
		require.Equal(t, c.status, report.Error.Status)
		require.Contains(t, report.Error.Message, c.want)
		require.Equal(t, []string{"message", "advice", "code", "exit_status", "problems"}, keys(t, strings.TrimSuffix(strings.TrimPrefix(lines[len(lines)-1], `{"error":`), "}")))
		if c.status == exitRefused {
			p := report.Error.Problems[0]
			require.Equal(t, []string{"name", "--name", "a/b", "IMG.0003"}, []string{p.Field, p.Flag, p.Value, p.Code})
		}
	}
}

// Advice never names a flag that the command lacks, nor a command that does not
// exist.
func TestAdviceExists(t *testing.T) {
	t.Parallel()
	var sink bytes.Buffer
	root := newApp(Process{Stdout: &sink, Stderr: &sink, Getenv: os.Getenv}).root()
	commands := regexp.MustCompile(`'fastimage ([a-z -]+?)(?: --[a-z-]+)?'`)
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, a := range advices {
			text := fill(cmd, a.advice)
			require.NotContains(t, text, "{", a.advice)
			for _, m := range commands.FindAllStringSubmatch(text, -1) {
				_, rest, err := root.Find(strings.Fields(m[1]))
				require.NoError(t, err, text)
				require.Empty(t, rest, text)
			}
			for _, m := range flagName.FindAllStringSubmatch(commands.ReplaceAllString(text, ""), -1) {
				require.NotNil(t, cmd.Flags().Lookup(m[1]), "%s has no --%s: %s", cmd.CommandPath(), m[1], text)
			}
			require.NotRegexp(t, `With[A-Z]`, text, "a Go name")
		}
		for _, c := range cmd.Commands() {
			walk(c)
		}
	}
	walk(root)
}

// Errors say what to do next, once, and name no package of Go.
func TestNextSteps(t *testing.T) {
	t.Parallel()
	_, env := testCloud(t)
	noDir := filepath.Join(t.TempDir(), "no", "such", "out.zvhd2")
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"missing file", []string{"info", "none.raw"}, "check the path"},
		{"missing directory", []string{"convert", disk, noDir}, "check the path"},
		{"unknown job", []string{"job", "0123456789abcdef"}, "check the job's id"},
		{"unknown image", []string{"images", "show", "4ca46bf1-5c61-48ff-b4f3-0ad4e5e3ba86"}, "'fastimage images' lists"},
		{"bucket that is missing", []string{"upload", disk, "obs://no-such-bucket/x"}, "create the bucket"},
		{"bad bucket name", []string{"upload", disk, "obs://B/x"}, "3 to 63 lower-case letters"},
		{"bad token", []string{"images", "--token", "wrong"}, "get a new one"},
		{"object that is missing", []string{"info", "obs://images/none"}, "check the key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := fastimage(t, env, c.args...)
			require.NotZero(t, r.code)
			requireErrorLine(t, r, c.want)
			require.Equal(t, 1, strings.Count(r.stderr, c.want), r.stderr)
			require.NotRegexp(t, `(: | )(quickimport|uploader|rawimage|anyimage|zvhd2|imstest|bitmap): `, r.stderr)
		})
	}
	if os.Getuid() != 0 && runtime.GOOS != "windows" {
		dir := t.TempDir()
		require.NoError(t, os.Chmod(dir, 0o500))
		requireError(t, fastimage(t, nil, "convert", disk, filepath.Join(dir, "x.zvhd2")), exitFailed, "check the permissions")
	}
}

func TestImagesShowAndDelete(t *testing.T) {
	t.Parallel()
	srv, env := testCloud(t)
	id, err := srv.AddImage(imstest.Image{Name: "old"})
	require.NoError(t, err)
	r := fastimage(t, env, "images", "show", id)
	require.Zero(t, r.code, r.stderr)
	require.Contains(t, r.stdout, "id        "+id+"\n")
	require.Contains(t, r.stdout, "name      old\n")
	r = fastimage(t, env, "images", "show", "--json", id)
	require.Equal(t, []string{"id", "name", "status", "min_disk", "created", "origin"}, keys(t, r.stdout))

	// All are looked up before the first is deleted.
	r = fastimage(t, env, "images", "delete", id, "4ca46bf1-5c61-48ff-b4f3-0ad4e5e3ba86")
	requireError(t, r, exitFailed, "not found", "'fastimage images' lists")
	require.Len(t, srv.Images(), 1)
	r = fastimage(t, env, "images", "delete", id)
	require.Zero(t, r.code, r.stderr)
	require.Contains(t, r.stderr, "deleted "+id+" (old)")
	require.Empty(t, srv.Images())
}

func TestOSVersions(t *testing.T) {
	t.Parallel()
	_, env := testCloud(t)
	r := fastimage(t, env, "os-versions")
	require.Zero(t, r.code, r.stderr)
	require.Regexp(t, `^PLATFORM +TYPE +BITS +OS VERSION\n`, r.stdout)
	require.Contains(t, r.stdout, "Debian GNU/Linux 12 64bit\n")
	r = fastimage(t, env, "os-versions", "--json")
	require.Equal(t, []string{"os_versions"}, keys(t, r.stdout))
	r = fastimage(t, env, "__completeNoDesc", "import", "--os-version", "Deb")
	require.Contains(t, r.stdout, "Debian GNU/Linux 12 64bit\n")
}

func TestState(t *testing.T) {
	t.Parallel()
	srv, env := testCloud(t, imstest.WithJobDuration(time.Hour))
	dir := t.TempDir()
	state := []string{"--state-dir", dir}
	r := fastimage(t, env, append(append(toCloud, "--no-wait", disk), state...)...)
	require.Zero(t, r.code, r.stderr)

	list := func() []stateEntry {
		r := fastimage(t, nil, append([]string{"state", "list", "--json"}, state...)...)
		require.Zero(t, r.code, r.stderr)
		var rep struct{ State []stateEntry }
		require.NoError(t, json.Unmarshal([]byte(r.stdout), &rep))
		return rep.State
	}
	saved := list()
	require.Len(t, saved, 1)
	require.Equal(t, []string{"import", "submitted", "demo", srv.Jobs()[0].ID}, []string{saved[0].Kind, saved[0].Stage, saved[0].Name, saved[0].JobID})
	r = fastimage(t, nil, append([]string{"state", "list"}, state...)...)
	require.Regexp(t, `^ID +KIND +STAGE +CHANGED +TARGET\n`+saved[0].ID+` +import +submitted +`, r.stdout)

	require.NoError(t, os.WriteFile(filepath.Join(dir, "00ff.json"), []byte("{half"), 0o600))
	require.Len(t, list(), 2)
	requireError(t, fastimage(t, nil, append([]string{"state", "prune", "no-such-id"}, state...)...), exitFailed, "'fastimage state list'")
	r = fastimage(t, nil, append([]string{"state", "prune"}, state...)...)
	require.Contains(t, r.stderr, "removed 0 of 0", "nothing is finished")
	r = fastimage(t, nil, append([]string{"state", "prune", "00ff"}, state...)...)
	require.Contains(t, r.stderr, "removed 1 of 1")
	r = fastimage(t, nil, append([]string{"state", "prune", "--older-than", "1ns"}, state...)...)
	require.Contains(t, r.stderr, "removed 1 of 1")
	require.Empty(t, list())
	require.Zero(t, fastimage(t, nil, "state", "list").code, "no state at all")
	requireError(t, fastimage(t, nil, "state", "prune", "--older-than", "1h", "x"), exitUsage, "contradict")
}

// Settings come from flags, else from the environment, else from the profile.
func TestProfile(t *testing.T) {
	t.Parallel()
	srv, _ := testCloud(t)
	config := t.TempDir()
	file := filepath.Join(config, "fastimage", "config.yaml")
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o700))
	text := "profiles:\n  lab:\n    access_key: " + srv.AccessKey() + "\n    secret_key: " + srv.SecretKey() +
		"\n    region: " + srv.Region() + "\n    bucket: images\n    ims_endpoint: " + srv.IMSEndpoint() + "\n    obs_endpoint: " + srv.OBSEndpoint() +
		"\n    iam_endpoint: " + srv.IAMEndpoint() + "\n"
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	env := []string{"XDG_CONFIG_HOME=" + config, "HOME=" + config}
	r := fastimage(t, env, append(toCloud, "--profile", "lab", disk)...)
	require.Zero(t, r.code, r.stderr)
	require.Zero(t, fastimage(t, append(env, "FASTIMAGE_PROFILE=lab"), "images").code)

	requireError(t, fastimage(t, env, "images"), exitUsage, "--region") // there is no default profile
	requireError(t, fastimage(t, env, "images", "--profile", "lba"), exitUsage, "did you mean lab?")
	r = fastimage(t, append(env, "HW_ACCESS_KEY=other", "HW_SECRET_KEY=other"), "images", "--profile", "lab", "--retry-time", "1s")
	requireErrorLine(t, r, "check the access key")
	r = fastimage(t, append(env, "HW_ACCESS_KEY=other", "HW_SECRET_KEY=other"), "images", "--profile", "lab", "--ak", srv.AccessKey(), "--sk", srv.SecretKey())
	require.Zero(t, r.code, r.stderr)

	if runtime.GOOS != "windows" {
		require.NoError(t, os.Chmod(file, 0o640))
		r = fastimage(t, env, "images", "--profile", "lab")
		requireError(t, r, exitUsage, "other users", "chmod 600 "+shellQuote(file))
		require.NotContains(t, r.stderr, srv.SecretKey())
		require.NoError(t, os.Chmod(file, 0o600))
	}
	require.NoError(t, os.WriteFile(file, []byte(text+"    secret: "+srv.SecretKey()+"\n"), 0o600))
	r = fastimage(t, env, "images", "--profile", "lab")
	requireError(t, r, exitUsage, `line 10: unknown key "secret"`)
	require.NotContains(t, r.stderr, srv.SecretKey())
	require.Contains(t, fastimage(t, nil, "help", "credentials").stdout, "access_key")
}

// A second cloud on a directory is refused; faults are those of imstest; the
// environment appears in a file once the cloud answers.
func TestServeForScripts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	serve(t, dir)
	requireError(t, fastimage(t, nil, "serve", "--dir", dir), exitFailed, dir, "in use", "process ", "stop that 'fastimage serve'")
	requireError(t, fastimage(t, nil, "serve", "--dir", t.TempDir(), "--fault", "frob"), exitUsage, "--fault")

	c := serve(t, t.TempDir(), "--fault", "upload-part:503:1")
	r := fastimage(t, c.env, append(toCloud, disk)...)
	require.Zero(t, r.code, r.stderr)

	var port string
	for _, e := range c.env {
		if v, ok := strings.CutPrefix(e, "FASTIMAGE_OBS_ENDPOINT=http://"); ok {
			port = v
		}
	}
	requireError(t, fastimage(t, nil, "serve", "--dir", t.TempDir(), "--listen", port), exitFailed, "--listen", "port 0")
}

func TestMan(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "man1")
	require.Zero(t, fastimage(t, nil, "man", dir).code)
	page, err := os.ReadFile(filepath.Join(dir, "fastimage-images-delete.1"))
	require.NoError(t, err)
	require.Contains(t, string(page), "delete images")
	require.NotContains(t, fastimage(t, nil, "--help").stdout, "  man ")
}

// An ambiguous size is refused; units are binary everywhere.
func TestUnits(t *testing.T) {
	t.Parallel()
	for _, flag := range []string{"--min-disk", "--size", "--part-size", "--rate-limit"} {
		requireError(t, fastimage(t, nil, append(demo[:len(demo):len(demo)], flag, "40", disk)...), exitUsage, flag, "has no unit; write 40GiB, 40MiB or 40B")
	}
	require.Contains(t, strings.Join(strings.Fields(fastimage(t, nil, "--help").stdout), " "), "multiples of 1024")
}

// The guest of the demo disk, which has no kernel.
func TestCheck(t *testing.T) {
	t.Parallel()
	r := fastimage(t, nil, "check", disk)
	require.Contains(t, []int{exitDone, exitFailed}, r.code, r.stderr)
	require.Contains(t, r.stdout, "Debian GNU/Linux 12")
	require.Empty(t, r.stderr)
	r = fastimage(t, nil, "check", "--json", disk)
	require.Contains(t, keys(t, r.stdout), "findings")
	r = fastimage(t, nil, "check", "--verbose", disk)
	require.NotContains(t, r.stdout, "more checks")
	empty := sparse(t, "empty.raw", 8<<20)
	r = fastimage(t, nil, "check", "--source-format", "raw", empty)
	require.Equal(t, exitRefused, r.code, "%s%s", r.stdout, r.stderr)
	requireError(t, fastimage(t, nil, "check", "none.raw"), exitRefused, "none.raw")
}
