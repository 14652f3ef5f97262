// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/registrytest"
)

var testSource = source{version: "v1.2.3", revision: strings.Repeat("ab", 20), time: time.Unix(1_800_000_000, 0).UTC()}

const (
	testName      = "docker.packages.test/octocat/octo-app/packages-operator"
	testManifests = "image: packages-operator:dev\nenv: packages-operator:dev\n"
)

// buildSmall builds the small program that stands for all of a release.
func buildSmall(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "small")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-o", path, "./testdata/small")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

func testChart() fstest.MapFS {
	return fstest.MapFS{
		"Chart.yaml":            {Data: []byte("apiVersion: v2\nname: packages-operator\nversion: 0.1.0\nappVersion: dev\n")},
		"values.yaml":           {Data: []byte("# The image.\nimage:\n  # Without a tag.\n  repository: packages-operator\n  digest: \"\"\nother:\n  repository: untouched\n")},
		".helmignore":           {Data: []byte("# not in the package\n*.tgz\ntestdata/\n")},
		"templates/a.yaml":      {Data: []byte("a: {{ .Values.image.repository }}\n"), ModTime: time.Now()},
		"testdata/golden.yaml":  {Data: []byte("no\n")},
		"packages-operator.tgz": {Data: []byte("no\n")},
	}
}

// assembleSmall is a release with the same program for two platforms.
func assembleSmall(t *testing.T, program string) *release {
	t.Helper()
	dockerfile, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	r := release{source: testSource, name: testName, dockerfile: dockerfile, manifests: []byte(testManifests), chart: testChart()}
	for _, architecture := range []string{"amd64", "arm64"} {
		for _, command := range []string{operator, plugin} {
			r.programs = append(r.programs, newProgram(command, architecture, program))
		}
	}
	made, err := assemble(r)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func newProgram(command, architecture, path string) program {
	return program{name: command, platform: v1.Platform{OS: "linux", Architecture: architecture}, path: path}
}

func TestTheSameSourceGivesTheSameRelease(t *testing.T) {
	small := buildSmall(t)
	var releases [2]map[string]string
	for i := range releases {
		// Nothing of a file's own times is in a release.
		if err := os.Chtimes(small, time.Now(), time.Now().Add(-time.Duration(i)*time.Hour)); err != nil {
			t.Fatal(err)
		}
		folder := t.TempDir()
		if err := assembleSmall(t, small).write(folder); err != nil {
			t.Fatal(err)
		}
		check := exec.CommandContext(t.Context(), "sha256sum", "--check", "--strict", "--quiet", checksums)
		check.Dir = folder
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		releases[i] = map[string]string{}
		entries, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			text, err := os.ReadFile(filepath.Join(folder, entry.Name()))
			if err != nil {
				t.Fatal(err)
			}
			releases[i][entry.Name()] = string(text)
			if entry.Name() != checksums && !strings.Contains(fileOf(t, folder, checksums), "  "+entry.Name()+"\n") {
				t.Errorf("%s has no checksum", entry.Name())
			}
		}
	}
	for file, text := range releases[0] {
		if releases[1][file] != text {
			t.Errorf("%s differs from one time to the next", file)
		}
	}
	var files []string
	for file := range releases[0] {
		files = append(files, file)
	}
	slices.Sort(files)
	want := []string{
		"SHA256SUMS", "install.yaml",
		"kubectl-packages_linux_amd64", "kubectl-packages_linux_amd64.spdx.json", "kubectl-packages_linux_arm64", "kubectl-packages_linux_arm64.spdx.json",
		"packages-operator-1.2.3.tgz", "packages-operator_image.tar",
		"packages-operator_linux_amd64", "packages-operator_linux_amd64.spdx.json", "packages-operator_linux_arm64", "packages-operator_linux_arm64.spdx.json",
	}
	if diff := cmp.Diff(want, files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func fileOf(t *testing.T, folder, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestTheImageIsWhatTheDockerfileSays(t *testing.T) {
	small := buildSmall(t)
	r := assembleSmall(t, small)
	manifest, err := r.index.index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var platforms []string
	for _, one := range manifest.Manifests {
		platforms = append(platforms, one.Platform.String())
		image, err := r.index.index.Image(one.Digest)
		if err != nil {
			t.Fatal(err)
		}
		checkImage(t, image, one.Platform.Architecture, small)
	}
	if diff := cmp.Diff([]string{"linux/amd64", "linux/arm64"}, platforms); diff != "" {
		t.Errorf("platforms (-want +got):\n%s", diff)
	}
}

// checkImage compares an image with the Dockerfile.
func checkImage(t *testing.T, image v1.Image, architecture, program string) {
	t.Helper()
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.OS != "linux" || config.Architecture != architecture || !config.Created.Equal(testSource.time) {
		t.Errorf("%s: the image is for %s/%s, of %v", architecture, config.OS, config.Architecture, config.Created)
	}
	if config.Config.User != "65532:65532" || !slices.Equal(config.Config.Entrypoint, []string{"/packages-operator"}) {
		t.Errorf("%s: the image runs %v as %q", architecture, config.Config.Entrypoint, config.Config.User)
	}
	layers, err := image.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%s: %d layers, %v", architecture, len(layers), err)
	}
	reader, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	files := tar.NewReader(reader)
	header, err := files.Next()
	if err != nil || header.Name != "packages-operator" || header.Mode != 0o755 || header.Uid != 0 || !header.ModTime.Equal(testSource.time) {
		t.Fatalf("%s: the layer has %+v, %v", architecture, header, err)
	}
	content, err := io.ReadAll(files)
	if err != nil {
		t.Fatal(err)
	}
	if want, err := os.ReadFile(program); err != nil || !bytes.Equal(content, want) {
		t.Errorf("%s: the program in the layer is another, %v", architecture, err)
	}
	if _, err := files.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("%s: the layer has more than the program: %v", architecture, err)
	}
}

func TestAReleaseIsBuiltWithTheTagsOfTheMakefile(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(makefile), "\nPROGRAM_TAGS = "+tags+"\n") {
		t.Errorf("the Makefile's PROGRAM_TAGS are not %q", tags)
	}
}

func TestADockerfileThatIsNotUnderstoodIsRefused(t *testing.T) {
	const good = "FROM scratch\nCOPY a /a\nUSER 1:1\nENTRYPOINT [\"/a\"]\n"
	if _, err := readDockerfile([]byte(good)); err != nil {
		t.Error(err)
	}
	for text, say := range map[string]string{
		"FROM debian\n":                       "line 1 of the Dockerfile: FROM: a release is assembled FROM scratch",
		good + "ENV A=b\n":                    "line 5 of the Dockerfile: ENV: a release does not know this instruction",
		good + "COPY b /b\n":                  "line 5 of the Dockerfile: COPY: a release knows it once only",
		"FROM scratch\nCOPY --chown=1 a /a\n": "copies one file",
		"FROM scratch\nCOPY a /dir/\n":        "copies one file",
		"FROM scratch\nENTRYPOINT /a\n":       "write a JSON array",
		"FROM scratch\nCOPY a /a\n":           "the Dockerfile has no USER",
	} {
		if _, err := readDockerfile([]byte(text)); err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestABillListsWhatAProgramIsMadeOf(t *testing.T) {
	small := buildSmall(t)
	p := newProgram(operator, "amd64", small)
	text, err := billOf(p, testSource)
	if err != nil {
		t.Fatal(err)
	}
	var bill spdxDocument
	if err := json.Unmarshal(text, &bill); err != nil {
		t.Fatal(err)
	}
	if bill.SPDXVersion != "SPDX-2.3" || bill.CreationInfo.Created != "2027-01-15T08:00:00Z" {
		t.Errorf("the bill is %s of %s", bill.SPDXVersion, bill.CreationInfo.Created)
	}
	versions := map[string]string{}
	ids := map[string]bool{spdxDocRef: true}
	for _, one := range bill.Packages {
		versions[one.Name] = one.VersionInfo
		if ids[one.SPDXID] {
			t.Errorf("%s is there twice", one.SPDXID)
		}
		ids[one.SPDXID] = true
		if !regexp.MustCompile(`^pkg:golang/[^@]+@[^@+]+$`).MatchString(one.ExternalRefs[0].Locator) {
			t.Errorf("the package URL of %s is %s", one.Name, one.ExternalRefs[0].Locator)
		}
	}
	if versions[operator] != "v1.2.3" || versions["github.com/opencontainers/go-digest"] != "v1.0.0" || !strings.HasPrefix(versions["stdlib"], "1.") {
		t.Errorf("it lists %v", versions)
	}
	if len(bill.Packages) != 3 || len(bill.Relationships) != 3 {
		t.Errorf("%d packages, %d relationships", len(bill.Packages), len(bill.Relationships))
	}
	for _, one := range bill.Relationships {
		if !ids[one.Element] || !ids[one.Related] {
			t.Errorf("%s %s %s names what is not there", one.Element, one.Type, one.Related)
		}
	}
}

func TestInstallNamesTheImageByItsDigest(t *testing.T) {
	r := assembleSmall(t, buildSmall(t))
	text, err := r.manifest()
	if err != nil {
		t.Fatal(err)
	}
	image := testName + "@" + r.index.digest.String()
	if want := "image: " + image + "\nenv: " + image + "\n"; !strings.HasSuffix(string(text), want) {
		t.Errorf("install.yaml is %s", text)
	}
	r.manifests = []byte("image: something else\n")
	if _, err := r.manifest(); err == nil {
		t.Error("manifests without the image are taken")
	}
	r.name = "not a name"
	if _, err := assemble(*r); err == nil || !strings.Contains(err.Error(), "is no name for an image") {
		t.Errorf("a bad name: %v", err)
	}
}

func TestTheChartNamesTheRelease(t *testing.T) {
	chart, err := packChart(testChart(), testSource, testName, "sha256:abc")
	if err != nil {
		t.Fatal(err)
	}
	files, err := untar(chart.content)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, file := range files {
		got[file.name] = string(file.content)
	}
	want := map[string]string{
		"packages-operator/Chart.yaml":       "apiVersion: v2\nname: packages-operator\nversion: \"1.2.3\"\nappVersion: \"v1.2.3\"\n",
		"packages-operator/values.yaml":      "# The image.\nimage:\n  # Without a tag.\n  repository: " + testName + "\n  digest: sha256:abc\nother:\n  repository: untouched\n",
		"packages-operator/templates/a.yaml": "a: {{ .Values.image.repository }}\n",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the package (-want +got):\n%s", diff)
	}
	if none, err := packChart(fstest.MapFS{}, testSource, testName, ""); none != nil || err != nil {
		t.Errorf("without a chart: %v, %v", none, err)
	}
	for _, spoil := range []func(fstest.MapFS){
		func(m fstest.MapFS) { m[".helmignore"] = &fstest.MapFile{Data: []byte("!keep\n")} },
		func(m fstest.MapFS) { m["values.yaml"] = &fstest.MapFile{Data: []byte("image:\n  digest: \"\"\n")} },
		func(m fstest.MapFS) { m["Chart.yaml"] = &fstest.MapFile{Data: []byte("name: a\nversion: 1.0.0\n")} },
	} {
		broken := testChart()
		spoil(broken)
		if _, err := packChart(broken, testSource, testName, ""); err == nil {
			t.Error("a chart that is not understood is packed")
		}
	}
	for version, want := range map[string]string{
		"v1.2.3": "1.2.3", "1.2.3-rc.1": "1.2.3-rc.1", "0123456789ab-dirty": "0.0.0-g0123456789ab-dirty", "v1.2.3-4-gabcdef": "1.2.3-4-gabcdef",
	} {
		if got := chartVersion(version); got != want {
			t.Errorf("%s is the chart's %s, not %s", version, got, want)
		}
	}
}

func TestTheProjectsOwnFilesMakeARelease(t *testing.T) {
	chart, err := packChart(os.DirFS("../../"+chartFolder), testSource, testName, "sha256:abc")
	if err != nil {
		t.Fatal(err)
	}
	if chart == nil || chart.name != "packages-operator-1.2.3.tgz" {
		t.Fatalf("the chart is %v", chart)
	}
	files, err := untar(chart.content)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if file.name == "packages-operator/values.yaml" && !strings.Contains(string(file.content), "  repository: "+testName+"\n") {
			t.Error("the chart's values do not name the image")
		}
		if strings.Contains(file.name, "testdata") || strings.HasSuffix(file.name, ".helmignore") {
			t.Errorf("the chart has %s", file.name)
		}
	}
}

func TestAReleaseIsPulledFromOurOwnRegistryByItsDigest(t *testing.T) {
	const value = "octocat-0123456789-0123456789-0123456789-0123456789"
	p := registrytest.Policy()
	p.Repositories = []policy.Repository{{Owner: "octocat", Name: "octo-app", Visibility: policy.Private}}
	p.Credentials = []policy.Credential{registrytest.Credential(value, "octocat", policy.ScopeRead, policy.ScopeWrite)}
	registry := registrytest.Start(t, p, registrytest.Options{})
	config := `{"auths":{"` + registry.Addr + `":{"auth":"` + base64.StdEncoding.EncodeToString([]byte("octocat:"+value)) + `"}}}`
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DOCKER_CONFIG", folder)

	small := buildSmall(t)
	r := assembleSmall(t, small)
	to := registry.Image("octocat/octo-app/packages-operator")
	pushed, err := r.push(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	if len(pushed) != 6 {
		t.Errorf("pushed %v", pushed)
	}
	login := remote.WithAuthFromKeychain(authn.DefaultKeychain)
	repository, err := name.NewRepository(to)
	if err != nil {
		t.Fatal(err)
	}
	index, err := remote.Index(repository.Digest(r.index.digest.String()), login)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	if tagged, err := remote.Head(repository.Tag("v1.2.3"), login); err != nil || tagged.Digest != r.index.digest {
		t.Errorf("the tag is %v, %v", tagged, err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	bills := func(digest v1.Hash) (titles []string) {
		referrers, err := remote.Referrers(repository.Digest(digest.String()), login)
		if err != nil {
			t.Fatal(err)
		}
		found, err := referrers.IndexManifest()
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range found.Manifests {
			if one.ArtifactType != spdxType {
				t.Errorf("a referrer is of type %q", one.ArtifactType)
			}
			titles = append(titles, one.Annotations["org.opencontainers.image.title"])
		}
		slices.Sort(titles)
		return titles
	}
	for _, one := range manifest.Manifests {
		image, err := index.Image(one.Digest)
		if err != nil {
			t.Fatal(err)
		}
		checkImage(t, image, one.Platform.Architecture, small)
		if got := bills(one.Digest); !slices.Equal(got, []string{"packages-operator_linux_" + one.Platform.Architecture + spdxFile}) {
			t.Errorf("%s has the bills %v", one.Platform, got)
		}
	}
	if got := bills(r.index.digest); len(got) != 2 {
		t.Errorf("the index has the bills %v", got)
	}

	chart, err := name.ParseReference(registry.Image("octocat/octo-app/charts/packages-operator:1.2.3"))
	if err != nil {
		t.Fatal(err)
	}
	image, err := remote.Image(chart, login)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := image.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("the chart has %d layers, %v", len(layers), err)
	}
	reader, err := layers[0].Compressed()
	if err != nil {
		t.Fatal(err)
	}
	if content, err := io.ReadAll(reader); err != nil || !bytes.Equal(content, r.chartPackage.content) {
		t.Errorf("the chart that was pulled is another, %v", err)
	}

	// Again: it is all there, and nothing changes.
	again, err := r.push(t.Context(), to)
	if err != nil || !slices.Equal(again, pushed) {
		t.Errorf("pushing again: %v, %v", again, err)
	}
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	if _, err := r.push(t.Context(), to); err == nil {
		t.Error("without a login it pushes")
	} else if strings.Contains(err.Error(), value) {
		t.Error("the error has the login")
	}
}

func TestTheArchiveIsAnImageThatToolsLoad(t *testing.T) {
	r := assembleSmall(t, buildSmall(t))
	folder := t.TempDir()
	if err := r.write(folder); err != nil {
		t.Fatal(err)
	}
	unpacked := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "tar", "-xf", filepath.Join(folder, "packages-operator_image.tar"), "-C", unpacked).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	index, err := layout.ImageIndexFromPath(unpacked)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 || manifest.Manifests[0].Digest != r.index.digest {
		t.Fatalf("the archive has %+v, %v", manifest, err)
	}
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
}

func TestAFolderWithOtherFilesIsLeftAlone(t *testing.T) {
	folder := t.TempDir()
	mine := filepath.Join(folder, "mine")
	if err := os.WriteFile(mine, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := makeEmpty(folder); err == nil {
		t.Error("a folder with other files is emptied")
	}
	if err := os.WriteFile(filepath.Join(folder, checksums), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := makeEmpty(folder); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(mine); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what an earlier release wrote is there: %v", err)
	}
}
