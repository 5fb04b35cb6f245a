"""New problems that the policy poses: how it is asked, and how a statement is read, graded and answered.

    methods.py  the methods by name: whom they start from, and the role that they ask in
    exact.py    problems of the starter families, whose rules say everything: the policy goes on writing a statement
    words.py    all other problems: the policy writes, grades and solves statements in words

`pipelines.new_problems` puts the parts together.
"""
