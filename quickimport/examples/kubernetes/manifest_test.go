package kubernetes

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/fastimage/fastimage/quickimport/imstest"
)

// manifest is what the test needs of the documents in job.yaml.
type manifest struct {
	Kind string
	Data map[string]string
	Spec struct {
		Completions      int
		PodFailurePolicy struct {
			Rules []struct {
				Action      string
				OnExitCodes struct{ Values []int } `yaml:"onExitCodes"`
			}
		} `yaml:"podFailurePolicy"`
		Template struct {
			Spec struct {
				Containers []struct {
					Env []struct{ Name, Value string }
				}
			}
		}
	}
}

func read(t *testing.T) (config, job manifest) {
	t.Helper()
	data, err := os.ReadFile("job.yaml")
	require.NoError(t, err)
	dec := yaml.NewDecoder(bytes.NewReader(data))
	require.NoError(t, dec.Decode(&config))
	require.NoError(t, dec.Decode(&job))
	require.Equal(t, []string{"ConfigMap", "Job"}, []string{config.Kind, job.Kind})
	return config, job
}

// TestManifest runs the manifest's script with the real command, once for each
// index, as the Job would.
func TestManifest(t *testing.T) {
	if _, err := exec.LookPath("sh"); err != nil {
		t.Log("no shell here: the script was not run")
		return
	}
	config, job := read(t)
	require.Equal(t, job.Spec.Completions, bytes.Count([]byte(config.Data["images"]), []byte("\n")))
	require.Contains(t, job.Spec.PodFailurePolicy.Rules[0].OnExitCodes.Values, 3)

	dir := t.TempDir()
	bin := filepath.Join(dir, "bin")
	out, err := exec.Command("go", "build", "-o", filepath.Join(bin, "fastimage"), "../../cmd/fastimage").CombinedOutput()
	require.NoError(t, err, string(out))
	for name, text := range config.Data {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	disk, err := os.ReadFile("../../../testdata/disk.raw")
	require.NoError(t, err)
	for _, name := range []string{"web.qcow2", "db.vmdk"} { // the content decides, not the name
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), disk, 0o600))
	}

	srv := imstest.NewServer(t)
	env := append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	for _, e := range job.Spec.Template.Spec.Containers[0].Env {
		env = append(env, e.Name+"="+e.Value)
	}
	env = append(env, "BATCH="+dir, "IMAGES="+dir, "STATE="+filepath.Join(dir, "state"), "HW_REGION_NAME="+srv.Region(),
		"HUAWEICLOUD_SDK_AK="+srv.AccessKey(), "HUAWEICLOUD_SDK_SK="+srv.SecretKey(), "FASTIMAGE_BUCKET="+srv.Bucket(),
		"FASTIMAGE_IMS_ENDPOINT="+srv.IMSEndpoint(), "FASTIMAGE_OBS_ENDPOINT="+srv.OBSEndpoint(), "FASTIMAGE_IAM_ENDPOINT="+srv.IAMEndpoint())
	run := func(index int) (string, int) {
		cmd := exec.CommandContext(t.Context(), "sh", filepath.Join(dir, "import.sh"))
		cmd.Env = append(env, fmt.Sprintf("JOB_COMPLETION_INDEX=%d", index))
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		stdout, err := cmd.Output()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return string(stdout) + stderr.String(), cmd.ProcessState.ExitCode()
	}
	for range 2 {
		for i := range job.Spec.Completions {
			text, code := run(i)
			require.Zero(t, code, text)
			require.Contains(t, text, `"image_id": "`)
		}
		require.Len(t, srv.Images(), job.Spec.Completions)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "images"), []byte("web.qcow2|a/b|Debian\n"), 0o600))
	text, code := run(0)
	require.Equal(t, 3, code, text)
}
