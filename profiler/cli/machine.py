"""What is there: recipes, and the machine."""

import typer


def recipes() -> None:
    """List the built-in recipes."""
    from profiler.recipe import RECIPES, load_recipe

    typer.echo("\n".join(f"{name:16} {load_recipe(name).description}" for name in RECIPES))


def doctor() -> None:
    """Check this machine: versions, device, caches, and known faults."""
    from profiler.doctor import examine

    findings = list(examine())
    for finding in findings:
        typer.echo(f"{'ok ' if finding.is_fine else 'BAD'} {finding.name}: {finding.text}")
    raise typer.Exit(0 if all(finding.is_fine for finding in findings) else 1)
