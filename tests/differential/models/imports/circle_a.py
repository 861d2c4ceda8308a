import circle_b


def both():
    return circle_b.name(), "a"
