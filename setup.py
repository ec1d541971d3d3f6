from setuptools import Extension, setup

COMPILED = {
    "aggd.ingest.fastlane": "aggd/ingest/fastlane.pyx",
    "aggd.sketch.compact": "aggd/sketch/compact.pyx",
    "aggd.sketch.sliding": "aggd/sketch/sliding.pyx",
}

# optional: where no C compiler is at hand, aggd installs without them and runs its Python lane.
setup(
    ext_modules=[
        Extension(name, [source], extra_compile_args=["-O3"], optional=True)
        for name, source in COMPILED.items()
    ]
)
