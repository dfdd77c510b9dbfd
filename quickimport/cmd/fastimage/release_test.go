//go:build unix

package main

import (
	"debug/elf"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

const root = "../../.."

// config is what is used of the configuration of goreleaser.
type config struct {
	Builds []struct {
		Main         string   `yaml:"main"`
		Env          []string `yaml:"env"`
		Goos, Goarch []string
	} `yaml:"builds"`
	Before struct{ Hooks []string } `yaml:"before"`
	Nfpms  []struct {
		Formats  []string
		Contents []struct{ Src, Dst string }
	} `yaml:"nfpms"`
	Archives []struct{ Files []yaml.Node } `yaml:"archives"`
}

func load(t *testing.T) config {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, ".goreleaser.yaml"))
	require.NoError(t, err)
	var c config
	require.NoError(t, yaml.Unmarshal(data, &c))
	return c
}

// What packages contain beside the binary is made by the script that the release
// runs first.
func TestReleaseFiles(t *testing.T) {
	t.Parallel()
	c := load(t)
	require.Equal(t, []string{".ci/release-files dist-files"}, c.Before.Hooks)
	dir := t.TempDir()
	out, err := exec.CommandContext(t.Context(), filepath.Join(root, ".ci", "release-files"), dir).CombinedOutput()
	require.NoError(t, err, "%s", out)
	srcs := []string{}
	for _, item := range c.Nfpms[0].Contents {
		srcs = append(srcs, item.Src)
	}
	for _, f := range c.Archives[0].Files {
		var pair struct{ Src string }
		if f.Kind == yaml.ScalarNode {
			srcs = append(srcs, f.Value)
		} else {
			require.NoError(t, f.Decode(&pair))
			srcs = append(srcs, pair.Src)
		}
	}
	for _, src := range srcs {
		name := filepath.Join(root, src)
		if rest, ok := strings.CutPrefix(src, "dist-files/"); ok {
			name = filepath.Join(dir, rest)
		}
		found, err := filepath.Glob(name)
		require.NoError(t, err)
		require.NotEmpty(t, found, src)
	}
	page, err := os.ReadFile(filepath.Join(dir, "man", "fastimage-import.1"))
	require.NoError(t, err)
	require.Contains(t, string(page), "--manifest")
}

// The packages for deb and rpm are of a build that needs no C library, for every
// system and processor that the README names.
func TestReleaseTargets(t *testing.T) {
	t.Parallel()
	c := load(t)
	b := c.Builds[0]
	require.Equal(t, []string{"CGO_ENABLED=0"}, b.Env)
	require.ElementsMatch(t, []string{"linux", "darwin", "windows"}, b.Goos)
	require.ElementsMatch(t, []string{"amd64", "arm64"}, b.Goarch)
	require.ElementsMatch(t, []string{"deb", "rpm"}, c.Nfpms[0].Formats)
	require.FileExists(t, filepath.Join(root, path.Clean(b.Main), "main.go"))
}

// The image has the binary as the Dockerfile builds it, which is static, and the
// certificates.
func TestDockerfile(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	require.NoError(t, err)
	text := string(data)
	_, final, ok := strings.Cut(text, "FROM scratch\n")
	require.True(t, ok)
	require.Contains(t, final, "/etc/ssl/certs/ca-certificates.crt")
	require.Regexp(t, `USER \d+:\d+`, final)
	require.Contains(t, final, `ENTRYPOINT ["/usr/bin/fastimage"]`)
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	require.NoError(t, err)
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(string(mod))[1]
	require.Contains(t, text, "FROM golang:"+version+"-")

	build := regexp.MustCompile(`(?m)^RUN (CGO_ENABLED=0 go build .*-o )/out/fastimage (\S+)`).FindStringSubmatch(text)
	require.NotNil(t, build)
	if os.Getenv("CI") == "" {
		return // the build takes a minute where nothing of it is cached
	}
	binary := filepath.Join(t.TempDir(), "fastimage")
	cmd := exec.CommandContext(t.Context(), "sh", "-c", build[1]+binary+" "+build[2])
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOOS=linux")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	f, err := elf.Open(binary)
	require.NoError(t, err)
	defer f.Close()
	for _, p := range f.Progs {
		require.NotEqual(t, elf.PT_INTERP, p.Type, "the binary is linked dynamically")
	}
}
